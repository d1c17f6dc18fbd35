import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { closeAfterTests } from "../../testing/close-after-tests.ts";
import { testsThatNeed } from "../../testing/programs.ts";
import {
  download,
  inAnHour,
  newKey,
  type ObjectStoreHarness,
  objectStoreSuite,
  putPart,
} from "../../testing/suites/object-store-suite.ts";
import { startTestS3, type TestS3 } from "../../testing/test-s3.ts";
import { until } from "../../testing/until.ts";
import { systemClock } from "../clock.ts";
import { Secret } from "../secret.ts";
import { openS3ObjectStore, type S3ObjectStoreOptions } from "./s3-object-store.ts";

const { describe, test, before } = testsThatNeed("versitygw");

const opened = closeAfterTests();
let s3: TestS3;
before(async () => {
  s3 = opened.use(await startTestS3());
});

interface S3Harness extends ObjectStoreHarness {
  folder: string;
  openAgain(options?: Partial<S3ObjectStoreOptions>): ReturnType<typeof openS3ObjectStore>;
}

async function openHarness(): Promise<S3Harness> {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-spool-"));
  const openAgain: S3Harness["openAgain"] = (options) =>
    openS3ObjectStore({
      endpoint: s3.endpoint,
      bucket: s3.bucket,
      region: s3.region,
      accessKeyId: s3.accessKeyId,
      secretAccessKey: new Secret(s3.secretAccessKey),
      isPathStyle: true,
      temporaryFolder: folder,
      clock: systemClock,
      ...options,
    });
  const store = await openAgain();
  return {
    store,
    openAgain,
    folder,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describe("S3", () => objectStoreSuite(openHarness));

test("a write leaves no temporary file, whether it succeeds or not", async () => {
  await using harness = await openHarness();
  const { store, folder } = harness;
  const source = () => Readable.from([Buffer.from("abc")]);
  await store.write(newKey(), { contentType: "text/plain", source: source(), maxBytes: 3 });
  await assert.rejects(store.write(newKey(), { contentType: "text/plain", source: source(), maxBytes: 2 }));
  await using stranger = await harness.openAgain({ secretAccessKey: new Secret("wrong") });
  await assert.rejects(stranger.write(newKey(), { contentType: "text/plain", source: source(), maxBytes: 3 }), {
    name: "SignatureDoesNotMatch",
  });
  assert.deepEqual(readdirSync(folder), []);
});

test("a wrong secret, an unknown bucket and a server that is down fail the check", async () => {
  await using harness = await openHarness();
  for (const options of [
    { secretAccessKey: new Secret("wrong") },
    { bucket: "unknown" },
    { endpoint: "http://127.0.0.1:1" },
  ]) {
    await using store = await harness.openAgain(options);
    await assert.rejects(store.check());
  }
});

test("with virtual hosts the bucket is in the name of the host", async () => {
  await using harness = await openHarness();
  const key = newKey();
  const options = { ...download, expiresAt: inAnHour() };
  await using virtual = await harness.openAgain({ endpoint: "https://s3.example", isPathStyle: false });
  const url = new URL(await virtual.downloadUrl(key, options));
  assert.equal(`${url.origin}${url.pathname}`, `https://files.s3.example/${key}`);
  await using aws = await harness.openAgain({ endpoint: null, region: "eu-central-1", isPathStyle: false });
  assert.equal(new URL(await aws.downloadUrl(key, options)).host, "files.s3.eu-central-1.amazonaws.com");
});

/** Passes connections on to the server. */
async function openProxy(options: { brokenConnections?: number } = {}) {
  let broken = options.brokenConnections ?? 0;
  let received = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(new URL(s3.endpoint).port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    if (broken-- > 0) client.once("data", () => client.resetAndDestroy());
    else client.pipe(upstream);
    upstream.on("data", (data) => {
      received += data.length;
    });
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: () => received,
    open: () => sockets.size,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("a write is repeated when its connection breaks, but not forever", async () => {
  await using harness = await openHarness();
  const body = randomBytes(3 * 1024 * 1024);
  for (const [brokenConnections, isStored] of [
    [2, true],
    [100, false],
  ] as const) {
    await using proxy = await openProxy({ brokenConnections });
    await using store = await harness.openAgain({ endpoint: proxy.endpoint });
    const key = newKey();
    const written = store.write(key, {
      contentType: "text/plain",
      source: Readable.from([body]),
      maxBytes: body.length,
    });
    if (isStored) assert.equal((await written).bytes, body.length);
    else await assert.rejects(written, { code: "ECONNRESET" });
    assert.equal((await harness.store.stat(key))?.bytes, isStored ? body.length : undefined);
  }
});

test("a reader that stops ends the request", async () => {
  await using harness = await openHarness();
  await using proxy = await openProxy();
  await using store = await harness.openAgain({ endpoint: proxy.endpoint });
  const key = newKey();
  const size = 64 * 1024 * 1024;
  const source = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(size / 64)));
  await harness.store.write(key, { contentType: "text/plain", source, maxBytes: size });
  for await (const _chunk of await store.read(key)) break;
  await until("the connection is closed", () => proxy.open() === 0);
  assert.ok(proxy.received() < size / 2, `${proxy.received()} bytes were sent`);
});

test("URLs of parts sign the length, and no checksum of an empty body", async () => {
  await using harness = await openHarness();
  const started = { key: newKey(), uploadId: "1" };
  const url = new URL(await harness.store.partUrl(started, { number: 1, bytes: 10 }, inAnHour()));
  assert.equal(url.searchParams.get("X-Amz-SignedHeaders"), "content-length;host");
  assert.ok(![...url.searchParams.keys()].some((name) => /checksum/i.test(name)));
});

// S3 lists 1,000 at a time.
test("more than 1,000 parts and uploads are listed", async () => {
  await using harness = await openHarness();
  const { store } = harness;
  const numbers = Array.from({ length: 1_002 }, (_, index) => index + 1);
  const started = await store.begin(newKey(), { contentType: "text/plain" });
  const uploads = [started.uploadId];
  for (let from = 0; from < numbers.length; from += 50) {
    await Promise.all(
      numbers.slice(from, from + 50).map(async (number) => {
        await putPart(store, started, number, Buffer.from("a"));
        uploads.push((await store.begin(newKey(), { contentType: "text/plain" })).uploadId);
      }),
    );
  }
  const parts = await store.listParts(started);
  assert.deepEqual(
    parts.map(({ number }) => number),
    numbers,
  );
  const found = new Set((await Array.fromAsync(store.uploadsBefore(inAnHour()))).map(({ uploadId }) => uploadId));
  assert.deepEqual(
    uploads.filter((id) => !found.has(id)),
    [],
  );
});
