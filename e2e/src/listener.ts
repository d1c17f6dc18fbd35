import { WebSocket } from "ws";
import { patient } from "../../server/src/testing/patience.ts";
import { leastPatienceMs } from "../../server/src/testing/until.ts";

export interface Frame extends Record<string, unknown> {
  type: string;
  cursor: string;
}

interface ListenOptions {
  /** The hub's URL, as it prints it. */
  url: string;
  token: string;
  /** The cursor to resume from, in the URL. */
  cursor?: string;
  /** Without a cursor: whether it sends `start` at once (the default), or the test sends the first frame. */
  starts?: boolean;
  headers?: Record<string, string>;
  protocols?: string[];
  /** Where the token goes; default: in the header. */
  tokenBy?: "header" | "query" | "protocol";
}

export type Listener = Awaited<ReturnType<typeof listen>>;

/**
 * A socket of a test that keeps every frame. Resolves with HELLO; rejects when the upgrade was refused, with the
 * response.
 */
export async function listen(options: ListenOptions) {
  const { url, token, cursor, starts = cursor === undefined, tokenBy = "header", protocols = [] } = options;
  const address = new URL("/ws", url.replace(/^http/, "ws"));
  if (cursor !== undefined) address.searchParams.set("cursor", cursor);
  if (tokenBy === "query") address.searchParams.set("token", token);
  const headers = { ...options.headers, ...(tokenBy === "header" ? { authorization: `Bearer ${token}` } : {}) };
  const offered = tokenBy === "protocol" ? ["bearer", token] : protocols;
  const socket = new WebSocket(address, offered, { headers, perMessageDeflate: false });
  const frames: Frame[] = [];
  const closed = Promise.withResolvers<{ code: number; reason: string }>();
  let look = () => {};
  socket.on("message", (data: Buffer) => {
    frames.push(JSON.parse(data.toString()) as Frame);
    look();
  });
  socket.on("close", (code, reason) => {
    closed.resolve({ code, reason: reason.toString() });
    look();
  });

  /** The first frame that the test accepts, of those that came and those that will. */
  function frame(what: string, test: (frame: Frame) => boolean, withinMs = leastPatienceMs): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const limitMs = patient(withinMs);
      const timer = setTimeout(() => {
        const got = frames.map(({ type }) => type).slice(-20);
        reject(new Error(`Within ${limitMs} ms there was no ${what}; the last frames: ${got}.`));
      }, limitMs);
      look = () => {
        const found = frames.find(test);
        if (found === undefined) return;
        clearTimeout(timer);
        look = () => {};
        resolve(found);
      };
      look();
    });
  }

  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once("error", reject);
    socket.once("unexpected-response", (_request, response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => (body += chunk));
      response.on("end", () => reject(new UpgradeRefused(response.statusCode!, body)));
    });
  });
  socket.on("error", () => {});
  const hello = await frame("HELLO", ({ type }) => type === "HELLO");
  if (starts) socket.send(JSON.stringify({ type: "start" }));
  return {
    socket,
    hello,
    frames,
    frame,
    closed: closed.promise,
    /** Frames of the feed: those that a resume brings again. */
    events: () => frames.filter(({ type }) => feedTypes.has(type)),
    say: (said: object) => socket.send(JSON.stringify(said)),
    /** As a broken network does. */
    cut: () => socket.terminate(),
    async [Symbol.asyncDispose]() {
      socket.terminate();
      await closed.promise;
    },
  };
}

/** The position in a cursor, which is opaque to clients: before its mark. */
export const positionOf = (cursor: string): number => Number.parseInt(cursor, 10);

export const feedTypes: ReadonlySet<string> = new Set([
  "NEW_MESSAGE",
  "MESSAGE_STATUS",
  "CONVERSATION",
  "FILE",
  "TASK",
  "WEBHOOK_ENDPOINT",
  "CHANNEL_ACCOUNT",
]);

export class UpgradeRefused extends Error {
  readonly status: number;
  readonly body: { error: { code: string } };

  constructor(status: number, body: string) {
    super(`The upgrade got ${status}: ${body}`);
    this.status = status;
    this.body = JSON.parse(body);
  }
}
