import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { WebSocketServer } from "ws";
import { serve } from "../child.ts";
import { sharedNow } from "../now.ts";
import type { MemoryFigures } from "../watch/inspector.ts";

export type SocketsOrder =
  | { kind: "listen" }
  /** A frame as long as the hub's with this cursor; responds when its first byte is about to be written. */
  | { kind: "send"; length: number; cursor: number }
  | { kind: "memory" };

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

server.on("connection", (socket, { url = "" }) => {
  socket.on("error", () => {});
  socket.send(frame("HELLO", 0, 100));
  if (url.includes("cursor=")) socket.send(frame("RESUMED", 0, 100));
});

/** The least a server of sockets can do: greet, and send the same text to all clients in a loop. */
serve(async (order: SocketsOrder) => {
  switch (order.kind) {
    case "listen":
      http.listen(0, "127.0.0.1");
      await once(http, "listening");
      return `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    case "send": {
      const text = frame("NEW_MESSAGE", order.cursor, order.length);
      const startedAt = sharedNow();
      for (const client of server.clients) client.send(text);
      return startedAt;
    }
    case "memory": {
      collectGarbage();
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rss, heap: heapUsed + external } satisfies MemoryFigures;
    }
    default:
      return order satisfies never;
  }
});

function frame(type: string, cursor: number, length: number): string {
  const empty = JSON.stringify({ type, cursor: String(cursor), content: "" });
  return JSON.stringify({ type, cursor: String(cursor), content: "x".repeat(Math.max(0, length - empty.length)) });
}
