import { connect } from "node:net";
import { frameReader, pongBytes, startBytes } from "./frame-reader.ts";

interface SocketClientOptions {
  port: number;
  host: string;
  /** Where it calls from: one address has some 28,000 ports only. */
  localAddress: string;
  authorization: string;
  /** Where to go on from. */
  cursor: number | null;
  onText(payload: Buffer): void;
  /** The hub refused or closed it, or the connection broke. */
  onEnded(why: string): void;
}

export interface SocketClient {
  /** As a broken network does, and `onEnded` is not called. */
  cut(): void;
}

const headEnd = "\r\n\r\n";

/** One WebSocket, with nothing but what a bench needs: ten thousand of them shall cost less than what is measured. */
export function openSocketClient(options: SocketClientOptions): SocketClient {
  const { port, host, localAddress, authorization, cursor, onText, onEnded } = options;
  const socket = connect({ port, host, localAddress, noDelay: true });
  let answer: Buffer | null = Buffer.alloc(0);
  const end = (why: string) => {
    socket.removeAllListeners().on("error", () => {});
    socket.destroy();
    onEnded(why);
  };
  const read = frameReader({
    onText,
    onPing: () => void socket.write(pongBytes),
    onClose: (code) => end(`closed with ${code}`),
  });
  socket.on("error", (error) => end(error.message));
  socket.on("close", () => end("cut off"));
  socket.on("data", (chunk: Buffer) => {
    if (answer === null) return read(chunk);
    answer = Buffer.concat([answer, chunk]);
    const at = answer.indexOf(headEnd);
    if (at < 0) return;
    if (!answer.toString("latin1", 0, 12).endsWith("101")) return end(answer.toString().slice(0, 500));
    const rest = answer.subarray(at + headEnd.length);
    answer = null;
    if (cursor === null) socket.write(startBytes);
    if (rest.length > 0) read(rest);
  });
  socket.write(
    [
      `GET /ws${cursor === null ? "" : `?cursor=${cursor}`} HTTP/1.1`,
      `host: ${host}:${port}`,
      "connection: upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      `authorization: ${authorization}`,
      "",
      "",
    ].join("\r\n"),
  );
  return {
    cut() {
      socket.removeAllListeners().on("error", () => {});
      socket.resetAndDestroy();
    },
  };
}
