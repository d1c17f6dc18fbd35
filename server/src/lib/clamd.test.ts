import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { Readable } from "node:stream";
import { test as plainTest } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { testsThatNeed } from "../testing/programs.ts";
import { eicar, marker, maxStreamBytes, startTestClamd, type TestClamd } from "../testing/test-clamd.ts";
import { until } from "../testing/until.ts";
import { Clamd, ClamdUnavailable, type ScanResult } from "./clamd.ts";

const { test, before } = testsThatNeed("clamd");
const opened = closeAfterTests();
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
let server: TestClamd;

before(async () => {
  server = opened.use(await startTestClamd());
});

const scan = (...chunks: (string | Buffer)[]): Promise<ScanResult> =>
  new Clamd(server.tcp).scan(Readable.from(chunks.map((chunk) => Buffer.from(chunk))));

function* zeros(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(64 * kibibyte);
  for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk.subarray(0, bytes - sent);
}

test("finds what it knows in a stream, and nothing else", async () => {
  assert.deepEqual(await scan("a text"), { kind: "clean" });
  assert.deepEqual(await scan(), { kind: "clean" });
  assert.deepEqual(await scan(eicar), { kind: "infected", signature: "Test.Eicar.UNOFFICIAL" });
  const late = await scan(...zeros(mebibyte), `${marker.slice(0, 10)}`, marker.slice(10), ...zeros(100));
  assert.deepEqual(late, { kind: "infected", signature: "Test.Marker.UNOFFICIAL" });
});

test("works over a unix socket", async () => {
  const clamd = new Clamd(server.unix);
  await clamd.check();
  assert.equal((await clamd.scan(Readable.from([Buffer.from(eicar)]))).kind, "infected");
});

test("a chunk without bytes does not end the stream: what follows is scanned too", async () => {
  assert.equal((await scan("", "begin", "", marker)).kind, "infected");
});

test("more bytes than clamd takes or scans are not called clean, whenever it stops reading", async () => {
  for (let tries = 0; tries < 30; tries += 1) {
    const source = Readable.from(zeros(maxStreamBytes + 30 * mebibyte));
    assert.deepEqual(await new Clamd(server.tcp).scan(source), { kind: "too_large" });
    assert.ok(source.destroyed);
  }
  assert.deepEqual(await scan(...zeros(maxStreamBytes)), { kind: "too_large" }, "over MaxFileSize");
});

test("an error of the source is thrown, and so is the reason of a signal", async () => {
  async function* cut() {
    yield Buffer.from("begin");
    throw new Error("The store is gone.");
  }
  await assert.rejects(new Clamd(server.tcp).scan(Readable.from(cut())), { message: "The store is gone." });
  const abort = new AbortController();
  async function* endless() {
    yield Buffer.from("begin");
    abort.abort(new Error("cancelled"));
    await new Promise(() => {});
  }
  const source = Readable.from(endless());
  await assert.rejects(new Clamd(server.tcp).scan(source, abort.signal), { message: "cancelled" });
  assert.ok(source.destroyed);
  const unread = Readable.from([]);
  await assert.rejects(new Clamd(server.tcp).scan(unread, abort.signal), { message: "cancelled" });
  assert.ok(unread.destroyed);
});

test("a clamd that is gone, hangs, or ends within a scan is unavailable, and works when it is back", async () => {
  const clamd = new Clamd(server.tcp, { silenceMs: 300, scanMs: 300 });
  server.hang();
  await assert.rejects(clamd.check(), ClamdUnavailable);
  await assert.rejects(clamd.scan(Readable.from(["text"])), ClamdUnavailable);
  await assert.rejects(clamd.scan(Readable.from(zeros(100 * mebibyte))), ClamdUnavailable);
  server.goOn();
  async function* killing() {
    yield* zeros(mebibyte);
    await server.kill();
    yield* zeros(mebibyte);
  }
  await assert.rejects(new Clamd(server.tcp).scan(Readable.from(killing())), ClamdUnavailable);
  await assert.rejects(new Clamd(server.tcp).scan(Readable.from(["text"])), ClamdUnavailable);
  await assert.rejects(new Clamd(server.unix).check(), ClamdUnavailable);
  await server.start();
  assert.deepEqual(await scan("a text"), { kind: "clean" });
});

/** Something else on clamd's port. */
async function listen(onSocket: (socket: Socket) => void): Promise<Clamd> {
  const sockets = new Set<Socket>();
  const other = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  opened.defer(() => {
    for (const socket of sockets) socket.destroy();
    other.close();
  });
  return new Clamd({ host: "127.0.0.1", port: (other.address() as { port: number }).port });
}

plainTest("what is no response of clamd is never taken for a clean file", async () => {
  const responses = ["", "stream: OK", "stream: OK\n", "HTTP/1.1 400 Bad Request\r\n\r\n"];
  for (const response of responses) {
    const clamd = await listen((socket) => socket.end(response));
    await assert.rejects(clamd.scan(Readable.from([Buffer.from("text")])), ClamdUnavailable, response.slice(0, 50));
  }
  const endless = await listen((socket) => Readable.from(zeros(1024 * mebibyte)).pipe(socket));
  await assert.rejects(endless.check(), { cause: new Error("clamd sends too much.") });
  const early = await listen((socket) => socket.end("stream: OK\0"));
  await assert.rejects(early.scan(Readable.from(zeros(100 * mebibyte))), ClamdUnavailable);
  const strange = await listen((socket) => socket.end("stream: OK but not all of it\0"));
  const result = await strange.scan(Readable.from([Buffer.from("text")]));
  assert.deepEqual(result, { kind: "failed", message: "stream: OK but not all of it" });
});

plainTest("a source is read only as fast as clamd takes it", async () => {
  let read = 0;
  async function* counted() {
    for (const chunk of zeros(200 * mebibyte)) {
      read += chunk.length;
      yield chunk;
    }
  }
  const clamd = await listen((socket) => socket.pause());
  const abort = new AbortController();
  const scanned = clamd.scan(Readable.from(counted()), abort.signal);
  let before = -1;
  await until("no more is read", async () => {
    if (read > 0 && read === before) return true;
    before = read;
    await delay(100);
    return false;
  });
  assert.ok(read < 50 * mebibyte, `${read} bytes`);
  abort.abort();
  await assert.rejects(scanned, { name: "AbortError" });
});
