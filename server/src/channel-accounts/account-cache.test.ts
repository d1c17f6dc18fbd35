import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";
import { type ChannelAccountId, newId } from "../lib/ids.ts";
import { maxCachedAccounts, openAccountCache, recheckMs } from "./account-cache.ts";
import type { ConnectedAccount } from "./channel-account.ts";

/** A table of accounts, a stopped clock, and a count of the statements. */
function openWorld() {
  const table = new Map<ChannelAccountId, ConnectedAccount>();
  const asked = { loads: 0, checks: 0 };
  let nowMs = 1_000_000;
  let gate: Promise<void> | null = null;
  const clock: Clock = { now: () => nowMs, elapsed: () => nowMs, after: () => () => {} };
  const cache = openAccountCache({
    clock,
    async load(id) {
      asked.loads += 1;
      const found = table.get(id) ?? null;
      await gate;
      return found;
    },
    async findChanged(known) {
      asked.checks += 1;
      return known
        .filter((each) => table.get(each.channelAccountId)?.version !== each.version)
        .map((each) => each.channelAccountId);
    },
  });
  return {
    cache,
    asked,
    passTime(ms: number) {
      nowMs += ms;
    },
    /** Loads that start now wait until the returned function is called. */
    holdLoads(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return () => {
        gate = null;
        resolve();
      };
    },
    put(id: ChannelAccountId = newId(Date.now())): ChannelAccountId {
      const version = (table.get(id)?.version ?? 0) + 1;
      const plain = { channel: "test", name: "test", credentials: {}, settings: {}, workspaceId: "w" };
      table.set(id, { channelAccountId: id, ...plain, status: "active", statusFromMs: 0, version });
      return id;
    },
    remove: (id: ChannelAccountId) => table.delete(id),
  };
}

test("an account in use is loaded once, and checked every few seconds by one statement", async () => {
  const { cache, asked, passTime, put } = openWorld();
  const ids = [put(), put()];
  for (let second = 0; second < 10; second++) {
    await Promise.all([...ids, ...ids].map((id) => cache.get(id)));
    passTime(1_000);
  }
  assert.equal(asked.loads, 2);
  assert.ok(asked.checks >= 2 && asked.checks <= 4, `${asked.checks}`);
});

test("a hit is synchronous", async () => {
  const { cache, put } = openWorld();
  const id = put();
  assert.equal(cache.peek(id), undefined);
  const account = await cache.get(id);
  assert.equal(cache.peek(id), account);
});

test("a change or deletion by another process is visible within seconds", async () => {
  const { cache, passTime, put, remove } = openWorld();
  const id = put();
  assert.equal((await cache.get(id))?.version, 1);
  put(id);
  passTime(recheckMs);
  assert.equal(cache.peek(id), undefined);
  assert.equal((await cache.get(id))?.version, 2);
  remove(id);
  passTime(recheckMs);
  assert.equal(await cache.get(id), null);
});

test("a change by this process is visible at once, also during a load", async () => {
  const { cache, put, holdLoads } = openWorld();
  const id = put();
  const release = holdLoads();
  const early = cache.get(id);
  await nextTurn();
  put(id);
  cache.forget(id);
  release();
  assert.equal((await early)?.version, 1);
  assert.equal((await cache.get(id))?.version, 2);
  assert.equal(cache.peek(id)?.version, 2);
});

test("many callers of one account share one load", async () => {
  const { cache, asked, put } = openWorld();
  const id = put();
  await Promise.all(Array.from({ length: 100 }, () => cache.get(id)));
  assert.equal(asked.loads, 1);
});

// The platform of a deleted account continues to call, and anyone can send invented ids.
test("an unknown id is not looked up repeatedly, and evicts no account", async () => {
  const { cache, asked, passTime, put } = openWorld();
  const real = put();
  await cache.get(real);
  const unknown = newId<ChannelAccountId>(Date.now());
  for (let i = 0; i < 10; i++) assert.equal(await cache.get(unknown), null);
  assert.equal(asked.loads, 2);
  for (let i = 0; i < maxCachedAccounts + 10; i++) await cache.get(newId(Date.now()));
  assert.ok(cache.peek(real));
  put(unknown);
  passTime(recheckMs);
  assert.equal((await cache.get(unknown))?.version, 1);
});

test("text that is not an id is never looked up", async () => {
  const { cache, asked } = openWorld();
  for (const id of ["", "x", "' or 1=1", "__proto__"]) assert.equal(await cache.get(id as ChannelAccountId), null);
  assert.equal(asked.loads, 0);
});

test("the least recently used account is evicted", async () => {
  const { cache, put } = openWorld();
  const [oldest, used] = [put(), put()];
  await cache.get(oldest);
  await cache.get(used);
  for (let i = 0; i < maxCachedAccounts - 1; i++) {
    if (i === 5_000) await cache.get(used);
    await cache.get(put());
  }
  assert.equal(cache.peek(oldest), undefined);
  assert.ok(cache.peek(used));
});

test("a failed load or check is retried by the next caller", async () => {
  let isDown = true;
  const account = { channelAccountId: newId(Date.now()), version: 1 } as ConnectedAccount;
  let nowMs = 0;
  const cache = openAccountCache({
    clock: { now: () => nowMs, elapsed: () => nowMs, after: () => () => {} },
    load: async () => (isDown ? Promise.reject(new Error("down")) : account),
    findChanged: async () => (isDown ? Promise.reject(new Error("down")) : []),
  });
  await assert.rejects(cache.get(account.channelAccountId), /down/);
  isDown = false;
  assert.equal(await cache.get(account.channelAccountId), account);
  nowMs += recheckMs;
  isDown = true;
  await assert.rejects(cache.get(account.channelAccountId), /down/);
  isDown = false;
  assert.equal(await cache.get(account.channelAccountId), account);
});
