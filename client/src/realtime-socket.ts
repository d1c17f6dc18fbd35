import type { ClientFrame, ServerFrame } from "./frames.ts";

interface SocketOptions {
  WebSocket: typeof WebSocket;
  url: string;
  token: string;
  /** The last event that is known; null: from now on. */
  cursor: string | null;
  onFrame(frame: ServerFrame): void;
}

export interface SocketEnd {
  code: number;
  wasOpen: boolean;
}

export interface RealtimeSocket {
  say(frame: ClientFrame): void;
  /** Ends it at once, even if the hub does not respond. */
  end(): void;
  readonly ended: Promise<SocketEnd>;
}

/** For HELLO, and for the response to a ping, in milliseconds. */
const patienceMs = 10_000;
/** As if the network had broken: no close frame arrived. */
const brokenCode = 1006;

/**
 * One WebSocket. After a heartbeat without a frame it sends a ping, because browsers do not show the pings of the hub.
 */
export function openRealtimeSocket({ WebSocket, url, token, cursor, onFrame }: SocketOptions): RealtimeSocket {
  const address = new URL("/ws", url.replace(/^http/, "ws"));
  if (cursor !== null) address.searchParams.set("cursor", cursor);
  // As a subprotocol: a URL with a token in it would be logged.
  const socket = new WebSocket(address.href, ["bearer", token]);
  const { promise: ended, resolve } = Promise.withResolvers<SocketEnd>();
  let isOver = false;
  let heartbeatMs: number | null = null;
  let timer = setTimeout(() => end(), patienceMs);

  function finish(code: number): void {
    isOver = true;
    clearTimeout(timer);
    resolve({ code, wasOpen: heartbeatMs !== null });
  }

  function end(): void {
    if (isOver) return;
    socket.close();
    // The close frame may never get a response.
    finish(brokenCode);
  }

  function listenOn(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      say({ type: "ping" });
      timer = setTimeout(end, patienceMs);
    }, heartbeatMs!);
  }

  function say(frame: ClientFrame): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  }

  socket.addEventListener("message", ({ data }) => {
    if (isOver) return;
    const frame = JSON.parse(String(data)) as ServerFrame;
    if (frame.type === "HELLO") {
      heartbeatMs = frame.heartbeat_seconds * 1_000;
      if (cursor === null) say({ type: "start" });
    }
    if (heartbeatMs !== null) listenOn();
    onFrame(frame);
  });
  socket.addEventListener("close", ({ code }) => finish(code));
  socket.addEventListener("error", () => finish(brokenCode));
  return { say, end, ended };
}
