import assert from "node:assert/strict";
import { test } from "node:test";
import { openCredentialCache } from "./credential-cache.ts";
import type { Principal } from "./principal.ts";

const cachedFor = (userId: string) => ({
  principal: { userId } as Principal,
  checkedAtMs: 0,
  expiresAtMs: 0,
  claims: undefined,
});

test("the cache never exceeds its size, and keeps used entries", () => {
  const cache = openCredentialCache(10);
  cache.set("used", cachedFor("used"));
  for (let n = 0; n < 1000; n += 1) {
    cache.set(`once ${n}`, cachedFor("once"));
    assert.ok(cache.size <= 10);
    assert.ok(cache.get("used"), `after ${n} others`);
  }
  assert.equal(cache.get("once 0"), undefined);
});

test("a deleted entry is gone from both generations", () => {
  const cache = openCredentialCache(4);
  for (const name of ["a", "b", "c"]) cache.set(name, cachedFor(name));
  cache.deleteWhere(({ userId }) => userId !== "b");
  assert.deepEqual([cache.get("a"), cache.get("c")], [undefined, undefined]);
  assert.ok(cache.get("b"));
  cache.delete("b");
  assert.equal(cache.size, 0);
});
