import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "./clock.ts";
import { collectStartGarbage } from "./start-garbage.ts";

test("what nothing refers to is collected at the first check that finds the process idle", async () => {
  const dropped = new WeakRef(Array.from({ length: 1_000_000 }, (_, index) => index));
  const checks: (() => void)[] = [];
  let elapsedMs = cpuMs;
  collectStartGarbage({
    ...systemClock,
    elapsed: () => elapsedMs(),
    after(_, callback) {
      checks.push(callback);
      return () => {};
    },
  });
  while (cpuMs() < 20) Math.sqrt(2);
  checks.shift()!();
  // A WeakRef that was read keeps its object until the end of the turn.
  await turn();
  assert.equal(checks.length, 1, "a process that uses a whole core is checked again");
  elapsedMs = () => 1_000_000_000;
  checks.shift()!();
  assert.equal(checks.length, 0, "after the collection there are no more checks");
  assert.equal(dropped.deref(), undefined);
  assert.equal("gc" in globalThis, false);
});

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
