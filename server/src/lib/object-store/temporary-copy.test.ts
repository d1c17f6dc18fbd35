import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { closeAfterTests } from "../../testing/close-after-tests.ts";
import { ObjectStoreError } from "./object-store.ts";
import { openTemporaryCopy } from "./temporary-copy.ts";

const opened = closeAfterTests();
const folder = opened.adopt(await mkdtemp(join(tmpdir(), "copies-")), (path) => rm(path, { recursive: true }));
const key = "a store with one object";
const storeOf = (source: () => Readable) => ({ read: async () => source() });
const chunks = [Buffer.from("Some bytes, "), Buffer.from("and some more.")];

test("a copy is read from its start, has no name, and is gone when it is closed", async () => {
  const store = storeOf(() => Readable.from(chunks));
  const file = await openTemporaryCopy(store, key, { folder, maxBytes: 26 });
  assert.deepEqual(await readdir(folder), []);
  assert.equal((await file.stat()).size, 26);
  assert.equal((await file.readFile()).toString(), "Some bytes, and some more.");
  await file.close();
});

test("a copy that is too large, or whose source breaks, is an error", async () => {
  const isTooLarge = (error: unknown) => error instanceof ObjectStoreError && error.code === "too_large";
  const store = storeOf(() => Readable.from(chunks));
  await assert.rejects(openTemporaryCopy(store, key, { folder, maxBytes: 25 }), isTooLarge);
  const broken = storeOf(
    () =>
      new Readable({
        read() {
          this.destroy(new Error("it broke"));
        },
      }),
  );
  await assert.rejects(openTemporaryCopy(broken, key, { folder, maxBytes: 26 }), /it broke/);
});

test("an aborted copy ends, even while no data arrives", async () => {
  const silent = new Readable({ read() {} });
  const ending = new AbortController();
  const copying = openTemporaryCopy(
    storeOf(() => silent),
    key,
    { folder, maxBytes: 26, signal: ending.signal },
  );
  silent.push("one");
  setImmediate(() => ending.abort(new Error("nobody waits")));
  await assert.rejects(copying, /nobody waits/);
  assert.ok(silent.destroyed);
});
