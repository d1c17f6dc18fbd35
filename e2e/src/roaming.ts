import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { WebSocket } from "ws";
import { openEventStreamParser } from "./event-stream.ts";
import type { Frame } from "./listener.ts";
import type { Connecting, Connection } from "./roamer.ts";

/** The four ways to read the feed, each as one connection that can be ended badly. */
export function connectSocket(connecting: Connecting, resumeBy: "address" | "frame"): Connection {
  const { url, token, cursor, onFrame } = connecting;
  const address = new URL("/ws", url.replace(/^http/, "ws"));
  if (cursor !== null && resumeBy === "address") address.searchParams.set("cursor", cursor);
  const socket = new WebSocket(address, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false });
  const opened = Promise.withResolvers<boolean>();
  const ended = Promise.withResolvers<void>();
  socket.on("message", (data: Buffer) => onFrame(JSON.parse(data.toString()) as Frame));
  socket.on("open", () => {
    if (cursor === null) socket.send(JSON.stringify({ type: "start" }));
    else if (resumeBy === "frame") socket.send(JSON.stringify({ type: "resume", cursor }));
    opened.resolve(true);
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    opened.resolve(false);
    ended.resolve();
  });
  return {
    opened: opened.promise,
    ended: ended.promise,
    cut: () => socket.terminate(),
    close: () => socket.close(1000),
    stall: () => void (socket.readyState === socket.OPEN && socket.pause()),
  };
}

export function connectStream({ url, token, cursor, onFrame, onCursor }: Connecting): Connection {
  const parser = openEventStreamParser(({ id, data }) => {
    const frame = JSON.parse(data) as Frame;
    if (frame.cursor !== id) throw new Error(`An event with the id ${id} has the cursor ${frame.cursor}.`);
    onFrame(frame);
  });
  const headers: Record<string, string> = { accept: "text/event-stream", authorization: `Bearer ${token}` };
  if (cursor !== null) headers["last-event-id"] = cursor;
  return connectHttp(new URL("/v1/events", url), headers, (answer) => {
    if (answer.statusCode !== 200) answer.destroy();
    answer.on("data", (bytes: Buffer) => {
      parser.push(bytes);
      if (parser.lastId() !== "") onCursor(parser.lastId());
    });
  });
}

/** One page is one connection; a response that was not read to its end counts for nothing. */
export function connectPoller({ url, token, cursor, onFrame, onCursor }: Connecting): Connection {
  const address = new URL(`/v1/events?limit=200&after=${cursor ?? 0}`, url);
  if (cursor === null) onCursor("0");
  return connectHttp(address, { authorization: `Bearer ${token}` }, (answer) => {
    let body = "";
    answer.setEncoding("utf8").on("data", (text: string) => (body += text));
    answer.on("end", () => {
      if (answer.statusCode !== 200) return;
      const page = JSON.parse(body) as { data: Frame[]; next_cursor: string };
      for (const frame of page.data) onFrame(frame);
      onCursor(page.next_cursor);
    });
  });
}

function connectHttp(
  address: URL,
  headers: Record<string, string>,
  onAnswer: (answer: IncomingMessage) => void,
): Connection {
  const opened = Promise.withResolvers<boolean>();
  const ended = Promise.withResolvers<void>();
  const asked: ClientRequest = request(address, { agent: false, headers });
  asked.on("response", (answer) => {
    answer.on("error", () => {});
    onAnswer(answer);
    opened.resolve(true);
  });
  asked.on("error", () => {});
  asked.on("close", () => {
    opened.resolve(false);
    ended.resolve();
  });
  asked.end();
  const cut = () => void asked.destroy();
  return { opened: opened.promise, ended: ended.promise, cut, close: cut, stall: () => void asked.socket?.pause() };
}
