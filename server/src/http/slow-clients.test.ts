import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { RequestError } from "../errors.ts";
import { patient } from "../testing/patience.ts";
import { openDoor, parseAnswer } from "../testing/test-http-server.ts";
import { until } from "../testing/until.ts";

const quick = { headersTimeoutMs: 200, requestTimeoutMs: 400, checkEveryMs: 20, stalledTimeoutMs: 400 };
/** As slow as a client may be cut off, in milliseconds: far above the limits, since the machine may be busy. */
const within = 10_000;

/** Calls often until the connection has ended. */
async function keepDoing(act: () => void, ended: Promise<string>): Promise<string> {
  const timer = setInterval(act, 20);
  try {
    return await inTime(ended);
  } finally {
    clearInterval(timer);
  }
}

async function inTime<T>(result: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("the client was not cut off")), patient(within));
  });
  return Promise.race([result, late]).finally(() => clearTimeout(timer));
}

function assertTimeout(text: string): void {
  const { status, headers, error } = parseAnswer(text);
  assert.equal(status, 408);
  assert.equal(error.code, "REQUEST_TIMEOUT");
  assert.equal(headers.get("connection"), "close");
  assert.equal(headers.get("x-request-id"), error.request_id);
}

test("a client that sends its headers byte by byte is cut off", async () => {
  await using door = await openDoor({ limits: quick });
  const { socket, ended } = await door.dial();
  socket.write("GET /hello HTTP/1.1\r\nhost: a\r\n");
  assertTimeout(await keepDoing(() => socket.write("x"), ended));
});

test("a client that sends its body byte by byte is cut off", async () => {
  await using door = await openDoor({ limits: quick });
  const { socket, ended } = await door.dial();
  socket.write("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n");
  assertTimeout(await keepDoing(() => socket.write(" "), ended));
});

test("a client that sends endless chunks is cut off", async () => {
  await using door = await openDoor({ limits: quick });
  const { socket, ended } = await door.dial();
  socket.write(
    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
  );
  assertTimeout(await keepDoing(() => socket.write("1\r\n \r\n"), ended));
});

test("a client that sends nothing is cut off", async () => {
  await using door = await openDoor({ limits: quick });
  const { ended } = await door.dial();
  assertTimeout(await inTime(ended));
});

test("a client that got an error and does not disconnect is cut off", async () => {
  await using door = await openDoor({ limits: { headersTimeoutMs: 60_000 } });
  const serverSide = once(door.app.server, "connection");
  const socket = connect({ port: door.port, host: "127.0.0.1", allowHalfOpen: true });
  const [connection] = await serverSide;
  socket.resume();
  socket.write("GARBAGE\r\n\r\n");
  await once(socket, "end");
  await inTime(once(connection, "close"));
  socket.destroy();
});

test("a client that does not read its response is cut off", async () => {
  await using door = await openDoor({ limits: quick });
  const serverSide = once(door.app.server, "connection");
  const { socket } = await door.dial();
  socket.pause();
  socket.write("GET /large HTTP/1.1\r\nhost: a\r\n\r\n");
  const [connection] = await serverSide;
  await inTime(once(connection, "close"));
});

/** Takes bodies of files: see `SlowBodies`. */
async function openSlowDoor(limits: { silentBodyMs: number; slowBodyMs: number }) {
  return openDoor({ limits: { ...quick, ...limits } }, (app) => {
    app.addContentTypeParser("*", (_request, _body, done) => done(null));
    const config = { access: "public", hasSlowBody: true } as const;
    app.put("/file", { config }, async ({ raw }) => ({ received: (await buffer(raw)).length }));
    app.put("/refused", { config }, () => {
      throw new RequestError("CONFLICT", "Not this file.");
    });
  });
}

const upload = (path: string, bytes: number) =>
  `PUT ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: video/mp4\r\ncontent-length: ${bytes}\r\n\r\n`;

test("the body of a file may take longer than other bodies, as long as it moves", async () => {
  await using door = await openSlowDoor({ silentBodyMs: patient(within), slowBodyMs: patient(within) });
  const [slow, other] = [await door.dial(), await door.dial()];
  slow.socket.write(`${upload("/file", 100_000)}a`);
  other.socket.write(
    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
  );
  const both = () => void (slow.socket.write("a") && other.socket.write(" "));
  assertTimeout(await keepDoing(both, other.ended));
  // Once more, from the middle of the same body.
  const another = await door.dial();
  assertTimeout(await keepDoing(() => slow.socket.write("a"), another.ended));
  slow.socket.write(Buffer.alloc(100_000 - slow.socket.bytesWritten + upload("/file", 100_000).length, "a"));
  await until("it is received", () => /"received":100000/.test(slow.received()));
  // The next request on the connection has the usual limit.
  slow.socket.write(
    "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n",
  );
  assert.match(await keepDoing(() => slow.socket.write(" "), slow.ended), /HTTP\/1.1 408/);
});

test("a client that pauses in the body of a file is cut off", async () => {
  await using door = await openSlowDoor({ silentBodyMs: 200, slowBodyMs: patient(60_000) });
  const { socket, ended } = await door.dial();
  socket.write(`${upload("/file", 100_000)}a`);
  assertTimeout(await inTime(ended));
});

test("a client that sends the body of a file forever is cut off", async () => {
  await using door = await openSlowDoor({ silentBodyMs: patient(60_000), slowBodyMs: 600 });
  const { socket, ended } = await door.dial();
  socket.write(upload("/file", 100_000));
  assertTimeout(await keepDoing(() => socket.write("a"), ended));
});

test("a client that continues to send a refused file gets the response, and is cut off", async () => {
  await using door = await openSlowDoor({ silentBodyMs: patient(60_000), slowBodyMs: patient(60_000) });
  const { socket, ended } = await door.dial();
  socket.write(upload("/refused", 100_000_000));
  assert.match(await keepDoing(() => socket.write("a"), ended), /^HTTP\/1.1 409/);
});

test("two hundred slow clients delay no other", async () => {
  await using door = await openDoor({ limits: { headersTimeoutMs: 1_000, requestTimeoutMs: 1_000, checkEveryMs: 20 } });
  const slow = await Promise.all(Array.from({ length: 200 }, () => door.dial()));
  for (const { socket } of slow) socket.write("GET /hello HTTP/1.1\r\nhost: a\r\nx: ");
  for (let i = 0; i < 20; i++) assert.equal((await fetch(`${door.origin}/hello`)).status, 200);
  for (const answer of await inTime(Promise.all(slow.map(({ ended }) => ended)))) assertTimeout(answer);
});

test("connections beyond the limit are closed, and later ones are accepted again", async () => {
  await using door = await openDoor({ limits: { maxConnections: 3 } });
  const first = await Promise.all(Array.from({ length: 3 }, () => door.dial()));
  const beyond = await door.dial();
  assert.equal(await inTime(beyond.ended), "");
  const serverSide = once(door.app.server, "connection");
  first[0]!.socket.destroy();
  await inTime(first[0]!.ended);
  const again = await dialUntilTaken(door);
  again.socket.write("GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  assert.match(await inTime(again.ended), /^HTTP\/1.1 200/);
  await serverSide;
});

/** The server learns a moment later that a connection has ended. */
async function dialUntilTaken(door: Awaited<ReturnType<typeof openDoor>>) {
  for (;;) {
    const open = await new Promise<number>((resolve, reject) => {
      door.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });
    if (open < 3) return door.dial();
  }
}
