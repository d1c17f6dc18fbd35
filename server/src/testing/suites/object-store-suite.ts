/**
 * What every engine of the object store promises: `objectStoreSuite(...)` in `<engine>-object-store.test.ts`. An engine
 * that fails one of these would lose or mix up bytes, or let a client store or read what it may not.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { parse } from "content-disposition";
import { type Clock, systemClock } from "../../lib/clock.ts";
import {
  leastPartBytes,
  longestUrlSeconds,
  type ObjectStore,
  type ObjectStoreErrorCode,
  type Upload,
} from "../../lib/object-store/object-store.ts";
import { until } from "../until.ts";

export interface ObjectStoreHarness extends AsyncDisposable {
  readonly store: ObjectStore;
  /** The same objects, as another process opens them. Do not request the URLs of `handle` with it. */
  openAgain(options?: { clock?: Clock }): Promise<ObjectStore>;
}

const MiB = 1024 * 1024;
const partBytes = leastPartBytes;
const type = "application/octet-stream";

export const newKey = () => `${randomUUID()}/${randomUUID()}`;
export const inAnHour = () => new Date(Date.now() + 3_600_000);
export const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** Sends a part; fails when it is refused. */
export async function putPart(store: ObjectStore, upload: Upload, number: number, body: Buffer): Promise<string> {
  const url = await store.partUrl(upload, { number, bytes: body.length }, inAnHour());
  const response = await fetch(url, { method: "PUT", body: new Uint8Array(body) });
  assert.equal(response.status, 200, await response.text());
  return response.headers.get("etag")!;
}

export async function upload(store: ObjectStore, key: string, bodies: readonly Buffer[]): Promise<void> {
  const started = await store.begin(key, { contentType: type });
  const etags = await Promise.all(bodies.map((body, index) => putPart(store, started, index + 1, body)));
  await store.complete(
    started,
    etags.map((etag, index) => ({ number: index + 1, etag })),
  );
}

export function rejectsWith(result: Promise<unknown>, code: ObjectStoreErrorCode): Promise<void> {
  return assert.rejects(result, { name: "ObjectStoreError", code });
}

export const download = { filename: "a.bin", contentType: type, disposition: "attachment" } as const;

/** `fetch` would ask for a new copy instead. */
export const revalidate = { "cache-control": "max-age=0" };

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  return Array.fromAsync(items);
}

const namesOf = (uploads: readonly Upload[]) => uploads.map(({ uploadId }) => uploadId);

export function objectStoreSuite(open: () => Promise<ObjectStoreHarness>): void {
  test("parts arrive in any order, at once and again; the object is all of them in order", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    const bodies = [randomBytes(partBytes), randomBytes(partBytes), randomBytes(1000)];
    const started = await store.begin(key, { contentType: "video/mp4" });
    assert.deepEqual(await store.listParts(started), []);
    await putPart(store, started, 2, randomBytes(partBytes));
    const etags = await Promise.all([
      putPart(store, started, 3, bodies[2]!),
      putPart(store, started, 1, bodies[0]!),
      putPart(store, started, 2, bodies[1]!),
    ]);
    const listed = await store.listParts(started);
    assert.deepEqual(
      listed.map(({ number, bytes }) => [number, bytes]),
      [
        [1, partBytes],
        [2, partBytes],
        [3, 1000],
      ],
    );
    assert.deepEqual(
      listed.map(({ etag }) => etag),
      [etags[1], etags[2], etags[0]],
    );
    for (const [index, part] of listed.entries()) {
      if (part.sha256 !== null) assert.equal(part.sha256, sha256(bodies[index]!));
    }
    assert.equal(await store.stat(key), null, "it is no object yet");
    const facts = await store.complete(started, listed);
    assert.equal(facts.bytes, 2 * partBytes + 1000);
    assert.equal(facts.contentType, "video/mp4");
    assert.ok(Math.abs(facts.modifiedAt.getTime() - Date.now()) < 3_600_000);
    assert.deepEqual(await store.stat(key), facts);
    assert.ok((await buffer(await store.read(key))).equals(Buffer.concat(bodies)));
  });

  test("ranges and suffixes are exact, also across the border of parts", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    const bodies = [randomBytes(partBytes), randomBytes(partBytes), randomBytes(1000)];
    const whole = Buffer.concat(bodies);
    await upload(store, key, bodies);
    const last = whole.length - 1;
    for (const [start, end] of [
      [0, 0],
      [0, last],
      [partBytes - 1, partBytes],
      [partBytes, partBytes],
      [partBytes - 10, 2 * partBytes + 10],
      [2 * partBytes - 1, undefined],
      [last, undefined],
      [last - 5, last + 1000],
    ] as const) {
      const found = await buffer(await store.read(key, { start, ...(end !== undefined && { end }) }));
      assert.ok(found.equals(whole.subarray(start, (end ?? last) + 1)), `${start}-${end}`);
    }
    await rejectsWith(store.read(key, { start: last + 1 }), "range_invalid");

    const url = await store.downloadUrl(key, { ...download, expiresAt: inAnHour() });
    for (const [range, start, end] of [
      ["bytes=0-0", 0, 0],
      [`bytes=${partBytes - 3}-${partBytes + 3}`, partBytes - 3, partBytes + 3],
      [`bytes=${2 * partBytes - 2}-`, 2 * partBytes - 2, last],
      ["bytes=-1", last, last],
      ["bytes=-1500", last - 1499, last],
      [`bytes=-${whole.length + 5}`, 0, last],
    ] as const) {
      const response = await fetch(url, { headers: { range } });
      assert.equal(response.status, 206, range);
      assert.equal(response.headers.get("content-range"), `bytes ${start}-${end}/${whole.length}`);
      const body = Buffer.from(await response.arrayBuffer());
      assert.ok(body.equals(whole.subarray(start, end + 1)), range);
    }
    const beyond = await fetch(url, { headers: { range: `bytes=${whole.length}-` } });
    assert.equal(beyond.status, 416);
    await beyond.arrayBuffer();
  });

  test("an upload continues after a restart of the hub", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    const bodies = [randomBytes(partBytes), randomBytes(7)];
    const started = await store.begin(key, { contentType: type });
    const url = await store.partUrl(started, { number: 2, bytes: 7 }, inAnHour());
    await putPart(store, started, 1, bodies[0]!);
    await using restarted = await harness.openAgain();
    assert.deepEqual(
      (await restarted.listParts(started)).map(({ number, bytes }) => [number, bytes]),
      [[1, partBytes]],
    );
    assert.equal((await fetch(url, { method: "PUT", body: new Uint8Array(bodies[1]!) })).status, 200);
    await restarted.complete(started, await restarted.listParts(started));
    assert.ok((await buffer(await restarted.read(key))).equals(Buffer.concat(bodies)));
  });

  test("completing again changes nothing, nor does aborting afterwards", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    const started = await store.begin(key, { contentType: type });
    await putPart(store, started, 1, Buffer.from("once"));
    const parts = await store.listParts(started);
    const facts = await store.complete(started, parts);
    assert.deepEqual(await store.complete(started, parts), facts);
    await store.abort(started);
    assert.equal((await buffer(await store.read(key))).toString(), "once");
    await rejectsWith(store.listParts(started), "upload_missing");
    const late = await fetch(await store.partUrl(started, { number: 1, bytes: 4 }, inAnHour()), {
      method: "PUT",
      body: "late",
    });
    assert.equal(late.status, 404, await late.text());
    assert.equal((await buffer(await store.read(key))).toString(), "once");
  });

  test("an upload with a missing, replaced or short part is not completed, and can still be", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    const started = await store.begin(key, { contentType: type });
    const bodies = [randomBytes(partBytes), randomBytes(3)];
    const first = await putPart(store, started, 1, bodies[0]!);
    const short = await putPart(store, started, 2, Buffer.from("ab"));
    await rejectsWith(store.complete(started, []), "part_missing");
    await rejectsWith(store.complete(started, [{ number: 2, etag: short }]), "part_missing");
    const absent = [
      { number: 1, etag: first },
      { number: 2, etag: short },
      { number: 3, etag: short },
    ];
    await rejectsWith(store.complete(started, absent), "part_missing");
    const last = await putPart(store, started, 2, bodies[1]!);
    await rejectsWith(store.complete(started, absent.slice(0, 2)), "part_missing");
    const third = await putPart(store, started, 3, Buffer.from("c"));
    const tooShort = [
      { number: 1, etag: first },
      { number: 2, etag: last },
      { number: 3, etag: third },
    ];
    await rejectsWith(store.complete(started, tooShort), "part_missing");
    assert.equal(await store.stat(key), null);
    // A part that is not named is left out.
    await store.complete(started, tooShort.slice(0, 2));
    assert.ok((await buffer(await store.read(key))).equals(Buffer.concat(bodies)));
  });

  test("a part's URL is for one part of one length, until it expires, and nothing else is stored", async () => {
    await using harness = await open();
    const { store } = harness;
    const started = await store.begin(newKey(), { contentType: type });
    const body = new Uint8Array(randomBytes(1000));
    const url = await store.partUrl(started, { number: 1, bytes: 1000 }, inAnHour());
    const put = async (to: string | URL, init: RequestInit = {}) => {
      const response = await fetch(to, { method: "PUT", body, ...init });
      await response.arrayBuffer();
      return response.status;
    };
    const changed = (change: (url: URL) => void) => {
      const copy = new URL(url);
      change(copy);
      return copy;
    };
    for (const name of new URL(url).searchParams.keys()) {
      const value = new URL(url).searchParams.get(name)!;
      const other = /^\d+$/.test(value)
        ? String(Number(value) + 1)
        : value.replace(/.$/, (end) => (end === "0" ? "1" : "0"));
      // The last digit of a signature may hold bits that do not count.
      const set = /signature$/i.test(name) ? other.replace(/^./, (first) => (first === "0" ? "1" : "0")) : other;
      if (name === "x-id") continue;
      assert.ok((await put(changed(({ searchParams }) => searchParams.set(name, set)))) >= 400, `${name} changed`);
      assert.ok((await put(changed(({ searchParams }) => searchParams.delete(name)))) >= 400, `${name} left out`);
    }
    assert.equal(
      await put(changed((copy) => (copy.pathname = copy.pathname.replace(/.$/, (end) => (end === "0" ? "1" : "0"))))),
      403,
    );
    assert.equal(await put(changed(({ searchParams }) => searchParams.append("partNumber", "2"))), 403);
    assert.equal(await put(url, { body: new Uint8Array(1001) }), 403, "longer");
    assert.equal(await put(url, { body: new Uint8Array(999) }), 403, "shorter");
    assert.equal(await put(url, { body: new Uint8Array(0) }), 403, "empty");
    const stream = new Blob([body]).stream();
    assert.ok((await put(url, { body: stream, duplex: "half" } as RequestInit)) >= 400, "without a length");
    assert.equal(await put(url, { method: "POST" }), 403);
    assert.ok((await put(url, { method: "DELETE", body: null })) >= 400);
    const get = await fetch(url);
    assert.ok(get.status >= 400);
    await get.arrayBuffer();
    const anHourAgo = { ...systemClock, now: () => Date.now() - 3_600_000 };
    await using past = await harness.openAgain({ clock: anHourAgo });
    const expired = await past.partUrl(started, { number: 1, bytes: 1000 }, new Date(Date.now() - 1_800_000));
    assert.equal(await put(expired), 403, "expired");
    assert.deepEqual(await store.listParts(started), [], "nothing is stored");
    assert.equal(await put(url), 200);
  });

  test("a part whose connection breaks is not stored", async () => {
    await using harness = await open();
    const { store } = harness;
    const started = await store.begin(newKey(), { contentType: type });
    const url = await store.partUrl(started, { number: 1, bytes: 2 * MiB }, inAnHour());
    const broken = request(url, { method: "PUT", headers: { "content-length": 2 * MiB } });
    broken.on("error", () => {});
    await new Promise<void>((resolve) => broken.write(randomBytes(MiB), () => resolve()));
    broken.destroy();
    const body = randomBytes(10);
    await putPart(store, started, 2, body);
    assert.deepEqual(
      (await store.listParts(started)).map(({ number, bytes }) => [number, bytes]),
      [[2, 10]],
    );
  });

  test("an aborted upload is gone, and aborting again is no error", async () => {
    await using harness = await open();
    const { store } = harness;
    const started = await store.begin(newKey(), { contentType: type });
    const url = await store.partUrl(started, { number: 1, bytes: 1 }, inAnHour());
    await putPart(store, started, 1, Buffer.from("a"));
    await store.abort(started);
    await store.abort(started);
    await rejectsWith(store.listParts(started), "upload_missing");
    await rejectsWith(store.complete(started, [{ number: 1, etag: '"a"' }]), "upload_missing");
    assert.equal((await fetch(url, { method: "PUT", body: "b" })).status, 404);
    assert.equal(await store.stat(started.key), null);
  });

  test("uploads that were not completed are found by age, to be aborted", async () => {
    await using harness = await open();
    const { store } = harness;
    const [stale, completed, aborted] = await Promise.all(
      [1, 2, 3].map(() => store.begin(newKey(), { contentType: type })),
    );
    await putPart(store, stale!, 1, Buffer.from("a"));
    await putPart(store, completed!, 1, Buffer.from("b"));
    await store.complete(completed!, await store.listParts(completed!));
    await store.abort(aborted!);
    const found = await all(store.uploadsBefore(inAnHour()));
    const own = found.filter(({ key }) => [stale, completed, aborted].some((each) => each!.key === key));
    assert.deepEqual(own, [stale]);
    const before = namesOf(await all(store.uploadsBefore(new Date(Date.now() - 3_600_000))));
    assert.ok(!before.includes(stale!.uploadId), "it is not that old");
    await store.abort(own[0]!);
    assert.ok(!namesOf(await all(store.uploadsBefore(inAnHour()))).includes(stale!.uploadId));
  });

  test("objects of any size are written, read and downloaded: none, one, a part, and one more", async () => {
    await using harness = await open();
    const { store } = harness;
    for (const size of [0, 1, partBytes, partBytes + 1]) {
      const key = newKey();
      const body = randomBytes(size);
      const written = await store.write(key, {
        contentType: "text/plain",
        source: Readable.from(size === 0 ? [] : [body]),
        maxBytes: size,
      });
      assert.deepEqual(written, { bytes: size, sha256: sha256(body) });
      const facts = await store.stat(key);
      assert.deepEqual([facts!.bytes, facts!.contentType], [size, "text/plain"]);
      assert.ok((await buffer(await store.read(key))).equals(body));
      const other = newKey();
      await upload(store, other, size > partBytes ? [body.subarray(0, partBytes), body.subarray(partBytes)] : [body]);
      assert.equal((await store.stat(other))!.bytes, size);
      const url = await store.downloadUrl(other, { ...download, expiresAt: inAnHour() });
      const response = await fetch(url);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-length"), String(size));
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(body));
    }
  });

  test("nothing is left of a write that fails: a broken or too long source, or a caller that stops or refuses it", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    async function* failing() {
      yield randomBytes(MiB);
      throw new Error("broken on purpose");
    }
    const options = { contentType: type, maxBytes: 10 * MiB };
    await assert.rejects(store.write(key, { ...options, source: Readable.from(failing()) }), /on purpose/);
    const tooLong = Readable.from([randomBytes(MiB), randomBytes(MiB), Buffer.from("a")]);
    await rejectsWith(store.write(key, { ...options, source: tooLong, maxBytes: 2 * MiB }), "too_large");
    assert.equal(tooLong.destroyed, true);
    const stop = new AbortController();
    async function* endless() {
      for (let count = 0; ; count += 1) {
        if (count === 3) stop.abort();
        yield randomBytes(100);
        await new Promise(setImmediate);
      }
    }
    const stopped = store.write(key, { ...options, source: Readable.from(endless()), signal: stop.signal });
    await assert.rejects(stopped, { name: "AbortError" });
    const body = randomBytes(10);
    const refused = store.write(key, {
      ...options,
      source: Readable.from([body]),
      async onReceived(received) {
        assert.deepEqual(received, { bytes: 10, sha256: sha256(body) });
        assert.equal(await store.stat(key), null, "it is no object yet");
        throw new Error("refused on purpose");
      },
    });
    await assert.rejects(refused, /refused on purpose/);
    assert.equal(await store.stat(key), null);
    assert.ok(!(await all(store.uploadsBefore(inAnHour()))).some((each) => each.key === key));
  });

  test("writing to a key again replaces the object, also one with more parts", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    await upload(store, key, [randomBytes(partBytes), randomBytes(5)]);
    await store.write(key, { contentType: "text/plain", source: Readable.from([Buffer.from("new")]), maxBytes: 3 });
    assert.equal((await buffer(await store.read(key))).toString(), "new");
    assert.equal((await store.stat(key))!.bytes, 3);
  });

  test("a removed object is gone, and removing it again is no error", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    await upload(store, key, [Buffer.from("a")]);
    const url = await store.downloadUrl(key, { ...download, expiresAt: inAnHour() });
    await store.remove(key);
    await store.remove(key);
    assert.equal(await store.stat(key), null);
    await rejectsWith(store.read(key), "object_missing");
    assert.equal((await fetch(url)).status, 404);
  });

  test("a download has the type and the sanitised name, and its URL cannot be changed", async () => {
    await using harness = await open();
    const { store } = harness;
    const key = newKey();
    await upload(store, key, [Buffer.from("content")]);
    const long = `${"é".repeat(300)}.pdf`;
    for (const [filename, expected] of [
      ["report.pdf", "report.pdf"],
      ['say "hi".pdf', 'say "hi".pdf'],
      ["relatório €.pdf", "relatório €.pdf"],
      ["日本\u202egpj.exe", "日本 gpj.exe"],
      ["a\r\nset-cookie: b=c.pdf", "a set-cookie: b=c.pdf"],
      ["../../etc/passwd", "passwd"],
      ["C:\\temp\\a.txt", "a.txt"],
      ["100%20.txt", "100%20.txt"],
      ["\ud800.txt", "\ufffd.txt"],
      ["..", "file"],
      ["", "file"],
      [long, `${"é".repeat(98)}.pdf`],
    ]) {
      const url = await store.downloadUrl(key, {
        filename: filename!,
        contentType: "application/pdf",
        disposition: "inline",
        expiresAt: inAnHour(),
      });
      const response = await fetch(url);
      assert.equal(await response.text(), "content");
      assert.equal(response.headers.get("content-type"), "application/pdf");
      assert.equal(response.headers.get("set-cookie"), null);
      assert.equal(response.headers.get("cache-control"), "private");
      const { type: kind, parameters } = parse(response.headers.get("content-disposition")!);
      assert.deepEqual([kind, parameters.filename], ["inline", expected]);
    }
    const url = await store.downloadUrl(key, { ...download, expiresAt: inAnHour() });
    const { headers } = await fetch(url);
    assert.match(headers.get("content-disposition")!, /^attachment; filename/);
    const etag = headers.get("etag")!;
    const ifNoneMatch = (value: string) => fetch(url, { headers: { "if-none-match": value, ...revalidate } });
    assert.equal((await ifNoneMatch(etag)).status, 304);
    assert.equal((await ifNoneMatch('"other"')).status, 200);

    for (const name of new URL(url).searchParams.keys()) {
      if (name === "x-id") continue;
      const changed = new URL(url);
      changed.searchParams.set(name, `1${changed.searchParams.get(name)}`);
      assert.ok((await fetch(changed)).status >= 400, `${name} changed`);
    }
    const other = newKey();
    await upload(store, other, [Buffer.from("secret")]);
    assert.equal((await fetch(url.replace(key, other))).status, 403, "another object's URL");
    assert.equal((await fetch(url, { method: "PUT", body: "changed" })).status, 403);
    assert.equal((await fetch(url, { method: "DELETE" })).status, 403);
    const anHourAgo = { ...systemClock, now: () => Date.now() - 3_600_000 };
    await using past = await harness.openAgain({ clock: anHourAgo });
    const expired = await past.downloadUrl(key, { ...download, expiresAt: new Date(Date.now() - 1_800_000) });
    assert.equal((await fetch(expired)).status, 403);
    assert.equal(await (await fetch(url)).text(), "content");
  });

  // With bodies in memory it would grow by 320 MiB.
  test("20 writes of 16 MiB at once, and reading them, take little memory", async () => {
    await using harness = await open();
    const { store } = harness;
    const chunk = randomBytes(64 * 1024);
    const size = 16 * MiB;
    function* chunks() {
      for (let sent = 0; sent < size; sent += chunk.length) yield chunk;
    }
    const startBytes = process.memoryUsage.rss();
    let mostBytes = 0;
    const timer = setInterval(() => {
      mostBytes = Math.max(mostBytes, process.memoryUsage.rss() - startBytes);
    }, 20);
    const keys = Array.from({ length: 20 }, newKey);
    const written = await Promise.all(
      keys.map((key) => store.write(key, { contentType: type, source: Readable.from(chunks()), maxBytes: size })),
    );
    assert.ok(written.every(({ bytes }) => bytes === size));
    for (const key of keys) {
      let bytes = 0;
      for await (const part of await store.read(key)) bytes += part.length;
      assert.equal(bytes, size);
    }
    clearInterval(timer);
    await Promise.all(keys.map((key) => store.remove(key)));
    assert.ok(mostBytes < 160 * MiB, `memory grew by ${Math.round(mostBytes / MiB)} MiB`);
  });

  test("keys that are not two UUIDs, and URLs that are valid for too long, are refused", async () => {
    await using harness = await open();
    const { store } = harness;
    for (const key of ["", "a", "../../etc/passwd", `${newKey()}/x`, newKey().toUpperCase(), `${newKey()}\n`]) {
      await assert.rejects(store.stat(key), TypeError);
      await assert.rejects(store.begin(key, { contentType: type }), TypeError);
      await assert.rejects(store.remove(key), TypeError);
      await assert.rejects(store.downloadUrl(key, { ...download, expiresAt: inAnHour() }), TypeError);
    }
    const tooLate = new Date(Date.now() + (longestUrlSeconds + 60) * 1000);
    await assert.rejects(store.downloadUrl(newKey(), { ...download, expiresAt: tooLate }), RangeError);
    const started = await store.begin(newKey(), { contentType: type });
    for (const number of [0, -1, 1.5, 10_001, Number.NaN]) {
      await assert.rejects(store.partUrl(started, { number, bytes: 1 }, inAnHour()), RangeError);
    }
    await store.abort(started);
    const unknown = { key: newKey(), uploadId: "../x" };
    await rejectsWith(store.listParts(unknown), "upload_missing");
    await store.abort(unknown);
  });

  test("a store that works passes its check, and a reader may stop early", async () => {
    await using harness = await open();
    const { store } = harness;
    await store.check();
    const key = newKey();
    await upload(store, key, [randomBytes(partBytes), randomBytes(partBytes)]);
    const stream = await store.read(key);
    for await (const _chunk of stream) break;
    await until("the stream is closed", () => stream.destroyed);
    assert.equal((await store.stat(key))!.bytes, 2 * partBytes);
  });
}
