import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../../testing/free-port.ts";
import {
  download,
  inAnHour,
  newKey,
  type ObjectStoreHarness,
  objectStoreSuite,
  putPart,
  revalidate,
  sha256,
  upload,
} from "../../testing/suites/object-store-suite.ts";
import { until } from "../../testing/until.ts";
import { type Clock, systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { Secret } from "../secret.ts";
import { openDiskObjectStore } from "./disk-object-store.ts";
import { leastPartBytes } from "./object-store.ts";

interface DiskHarness extends ObjectStoreHarness {
  folder: string;
  errors: string[];
  openAgain(options?: { clock?: Clock; secrets?: Secret[] }): ReturnType<typeof openDiskObjectStore>;
}

const serverProgram = fileURLToPath(new URL("../../testing/object-store-process.ts", import.meta.url));
const type = "application/octet-stream";
const secret = new Secret("a secret of the tests");

async function openHarness(): Promise<DiskHarness> {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-objects-"));
  const errors: string[] = [];
  const log: Log = { info() {}, warn() {}, error: (_fields, message) => void errors.push(message) };
  const server = createServer((incoming, response) => void store.handle!(incoming, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/some/objects`;
  const openAgain: DiskHarness["openAgain"] = ({ clock = systemClock, secrets = [secret] } = {}) =>
    openDiskObjectStore({ folder: join(folder, "files"), baseUrl, secrets, clock, log });
  const store = await openAgain();
  return {
    store,
    openAgain,
    folder: join(folder, "files"),
    errors,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

objectStoreSuite(openHarness);

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
}

test("a refused or broken part leaves no file", async () => {
  await using harness = await openHarness();
  const { store, folder } = harness;
  const started = await store.begin(newKey(), { contentType: type });
  const before = filesIn(folder);
  const url = await store.partUrl(started, { number: 1, bytes: 1_000_000 }, inAnHour());
  const broken = request(url, { method: "PUT", headers: { "content-length": 1_000_000 } });
  broken.on("error", () => {});
  broken.write(Buffer.alloc(100_000));
  await until("it arrives", () => filesIn(folder).length > before.length);
  broken.destroy();
  await until("it is deleted", () => filesIn(folder).length === before.length);
  const long = await fetch(url, { method: "PUT", body: new Uint8Array(5_000_000) });
  assert.equal(long.status, 403);
  assert.equal(long.headers.get("content-type"), "application/json; charset=utf-8");
  const { success, error } = (await long.json()) as { success: boolean; error: Record<string, unknown> };
  assert.equal(success, false);
  assert.equal(error.code, "FORBIDDEN");
  assert.match(error.message as string, /for a body of 1000000 bytes/);
  assert.match(error.request_id as string, /^[0-9a-f-]{36}$/);
  assert.deepEqual(filesIn(folder), before);
  assert.deepEqual(harness.errors, []);
});

test("a part that arrives while its upload is completed is refused", async () => {
  await using harness = await openHarness();
  const { store } = harness;
  const key = newKey();
  const started = await store.begin(key, { contentType: type });
  await putPart(store, started, 1, Buffer.from("first"));
  const url = await store.partUrl(started, { number: 1, bytes: 6 }, inAnHour());
  const late = request(url, { method: "PUT", headers: { "content-length": 6 } });
  const response = new Promise<number>((resolve) => late.on("response", ({ statusCode }) => resolve(statusCode!)));
  late.write("sec");
  await until("it arrives", () => filesIn(harness.folder).some((name) => name.endsWith(".tmp")));
  await store.complete(started, await store.listParts(started));
  late.end("ond");
  assert.equal(await response, 404);
  assert.equal(await text(await store.read(key)), "first");
});

test("calls that complete an upload at the same time, also of several processes, all succeed", async () => {
  await using harness = await openHarness();
  await using other = await harness.openAgain();
  for (let round = 0; round < 20; round += 1) {
    const key = newKey();
    const started = await harness.store.begin(key, { contentType: type });
    await putPart(harness.store, started, 1, Buffer.from("once"));
    const parts = await harness.store.listParts(started);
    const facts = await Promise.all(
      [harness.store, other, harness.store].map((store) => store.complete(started, parts)),
    );
    assert.equal(new Set(facts.map(({ etag }) => etag)).size, 1);
    assert.equal(await text(await harness.store.read(key)), "once");
  }
});

// Each state is what a kill at that moment leaves.
test("completing continues where a killed process has stopped", async () => {
  await using harness = await openHarness();
  const { store, folder } = harness;
  const key = newKey();
  const started = await store.begin(key, { contentType: type });
  await putPart(store, started, 1, Buffer.from("content"));
  const parts = await store.listParts(started);
  const own = join(folder, "uploads", started.uploadId);
  writeFileSync(join(own, "parts", "9f0c.tmp"), "half a part");
  assert.deepEqual(await store.listParts(started), parts);
  renameSync(join(own, "parts"), join(own, "object"));
  writeFileSync(join(own, "object", "object.json.tmp"), "half");
  const late = await store.partUrl(started, { number: 1, bytes: 4 }, inAnHour());
  assert.equal((await fetch(late, { method: "PUT", body: "late" })).status, 404);
  assert.deepEqual(await store.listParts(started), parts);
  await store.complete(started, parts);
  assert.equal(await text(await store.read(key)), "content");
  assert.deepEqual(readdirSync(join(folder, "objects", key)).sort(), ["1", "object.json"]);

  mkdirSync(join(own, "parts"), { recursive: true });
  writeFileSync(join(own, "upload.json"), JSON.stringify({ key, contentType: type, startedAt: new Date(0) }));
  assert.deepEqual(await Array.fromAsync(store.uploadsBefore(new Date())), [started]);
  await store.complete(started, parts);
  assert.deepEqual(readdirSync(join(folder, "uploads")), []);
  assert.equal(await text(await store.read(key)), "content");
});

test("a killed server loses no part that it confirmed, and lists none that is not whole", async () => {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-objects-"));
  await using opened = new AsyncDisposableStack();
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  const port = await freePort();
  const log: Log = { info() {}, warn() {}, error() {} };
  const baseUrl = `http://127.0.0.1:${port}`;
  const store = await openDiskObjectStore({ folder, baseUrl, secrets: [secret], clock: systemClock, log });
  const key = newKey();
  const started = await store.begin(key, { contentType: type });
  const bodies = Array.from({ length: 8 }, () => randomBytes(leastPartBytes));
  const confirmed = new Set<number>();
  for (let kills = 0; confirmed.size < bodies.length; kills += 1) {
    const server = fork(serverProgram, [folder, String(port), secret.reveal()]);
    opened.defer(() => void server.kill("SIGKILL"));
    await until("it responds", async () => (await fetch(baseUrl)).status === 403);
    const isLastRound = kills === 3;
    const sent = bodies.map(async (body, index) => {
      if (confirmed.has(index + 1) || (!isLastRound && index > kills)) return;
      await putPart(store, started, index + 1, body);
      confirmed.add(index + 1);
    });
    const settled = Promise.allSettled(sent);
    if (isLastRound) await settled;
    else {
      const { length } = bodies[7]!;
      const half = request(await store.partUrl(started, { number: 8, bytes: length }, inAnHour()), {
        method: "PUT",
        headers: { "content-length": length },
      });
      half.on("error", () => {});
      half.write(bodies[7]!.subarray(0, length / 2));
      const isHalf = (name: string) => statSync(join(folder, name)).size === length / 2;
      await until("a part is confirmed", () => confirmed.size > kills);
      await until("half of another has arrived", () => filesIn(folder).some(isHalf));
    }
    server.kill("SIGKILL");
    await Promise.all([settled, once(server, "exit")]);
    const listed = await store.listParts(started);
    const numbers = new Set(listed.map(({ number }) => number));
    assert.deepEqual(
      [...confirmed].filter((number) => !numbers.has(number)),
      [],
    );
    for (const part of listed) assert.equal(part.sha256, sha256(bodies[part.number - 1]!));
  }
  await store.complete(started, await store.listParts(started));
  assert.ok((await buffer(await store.read(key))).equals(Buffer.concat(bodies)));
  assert.deepEqual(readdirSync(join(folder, "uploads")), []);
});

test("a start deletes what an earlier process did not; a sweep deletes an upload that was never created in full", async () => {
  await using harness = await openHarness();
  const { folder } = harness;
  mkdirSync(join(folder, "trash", "x"));
  writeFileSync(join(folder, "trash", "x", "1"), "left");
  mkdirSync(join(folder, "uploads", "00000000-0000-4000-8000-000000000000", "parts"), { recursive: true });
  await using again = await harness.openAgain();
  assert.deepEqual(readdirSync(join(folder, "trash")), []);
  assert.deepEqual(await Array.fromAsync(again.uploadsBefore(new Date(0))), []);
  assert.equal(readdirSync(join(folder, "uploads")).length, 1);
  assert.deepEqual(await Array.fromAsync(again.uploadsBefore(inAnHour())), []);
  assert.deepEqual(readdirSync(join(folder, "uploads")), []);
});

test("URLs stay valid while their secret is still given, and not after", async () => {
  await using harness = await openHarness();
  const key = newKey();
  await upload(harness.store, key, [Buffer.from("a")]);
  const newer = new Secret("a newer secret");
  await using rotated = await harness.openAgain({ secrets: [newer, secret] });
  await using later = await harness.openAgain({ secrets: [newer] });
  const urls = await Promise.all(
    [harness.store, rotated, later].map((store) => store.downloadUrl(key, { ...download, expiresAt: inAnHour() })),
  );
  const statuses = async (store: typeof later) => {
    const server = createServer((incoming, response) => void store.handle!(incoming, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const answers = urls.map(async (url) => (await fetch(Object.assign(new URL(url), { port: String(port) }))).status);
    const found = await Promise.all(answers);
    server.closeAllConnections();
    server.close();
    return found;
  };
  assert.deepEqual(await statuses(rotated), [200, 200, 200]);
  assert.deepEqual(await statuses(later), [403, 200, 200]);
  await assert.rejects(harness.openAgain({ secrets: [] }), TypeError);
});

test("a download can be continued, and is shown as data only", async () => {
  await using harness = await openHarness();
  const { store } = harness;
  const key = newKey();
  await upload(store, key, [Buffer.from("0123456789")]);
  const url = await store.downloadUrl(key, { ...download, expiresAt: inAnHour() });
  for (const more of ["?x=1", "!!", "=", "%20"]) assert.equal((await fetch(url + more)).status, 403, more);
  const get = async (headers: Record<string, string>, method = "GET") => {
    const response = await fetch(url, { headers: { ...headers, ...revalidate }, method });
    return [response.status, await response.text()];
  };
  const head = await fetch(url, { method: "HEAD" });
  const of = (name: string) => head.headers.get(name)!;
  assert.deepEqual([head.status, of("content-length"), of("accept-ranges")], [200, "10", "bytes"]);
  assert.equal(of("x-content-type-options"), "nosniff");
  assert.match(of("content-security-policy"), /default-src 'none'.*sandbox/);
  assert.equal(of("cache-control"), "private");
  const [etag, modified] = [of("etag"), of("last-modified")];
  assert.ok(Math.abs(Date.parse(modified) - Date.now()) < 3_600_000);
  assert.deepEqual(await get({ range: "bytes=2-3" }, "HEAD"), [200, ""]);
  const range = "bytes=7-";
  assert.deepEqual(await get({ range, "if-range": etag }), [206, "789"]);
  assert.deepEqual(await get({ range, "if-range": modified }), [206, "789"]);
  assert.deepEqual(await get({ range, "if-range": '"other"' }), [200, "0123456789"]);
  assert.deepEqual(await get({ range, "if-range": `W/${etag}` }), [200, "0123456789"]);
  assert.deepEqual(await get({ range, "if-range": new Date(0).toUTCString() }), [200, "0123456789"]);
  for (const whole of ["bytes=0-1,4-5", "lines=0-1", "bytes=5-2", "bytes=a-b", "bytes="]) {
    assert.deepEqual(await get({ range: whole }), [200, "0123456789"], whole);
  }
  for (const beyond of ["bytes=10-", "bytes=-0", "bytes=99-100"]) {
    const response = await fetch(url, { headers: { range: beyond } });
    assert.deepEqual([response.status, response.headers.get("content-range")], [416, "bytes */10"], beyond);
  }
  assert.deepEqual(await get({ "if-none-match": `"a", ${etag}` }), [304, ""]);
  assert.deepEqual(await get({ "if-none-match": "*" }), [304, ""]);
  assert.deepEqual(await get({ "if-modified-since": modified }), [304, ""]);
  assert.deepEqual(await get({ "if-modified-since": new Date(0).toUTCString() }), [200, "0123456789"]);
});

test("a damaged object ends the download with an error", async () => {
  await using harness = await openHarness();
  const { store, folder } = harness;
  const key = newKey();
  await upload(store, key, [Buffer.alloc(leastPartBytes, "a"), Buffer.from("b")]);
  rmSync(join(folder, "objects", key, "2"));
  await assert.rejects(buffer(await store.read(key)), { code: "ENOENT" });
  const response = await fetch(await store.downloadUrl(key, { ...download, expiresAt: inAnHour() }));
  await assert.rejects(response.arrayBuffer());
  await until("it is logged", () => harness.errors.length === 1);
});

test("a folder that cannot be written fails the check", async () => {
  await using harness = await openHarness();
  rmSync(join(harness.folder, "trash"), { recursive: true });
  writeFileSync(join(harness.folder, "trash"), "");
  await assert.rejects(harness.store.check());
});
