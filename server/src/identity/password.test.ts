import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { getPriority } from "node:os";
import { test } from "node:test";
import { openPasswordHasher } from "./password.ts";

test("a password is stored as Argon2id with 19 MiB, and only it opens", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 10 });
  const hashed = await hasher.hash("pässword");
  assert.match(hashed, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.equal(await hasher.verify(hashed, "pässword".normalize("NFD")), true, "however the keyboard composes an ä");
  assert.equal(await hasher.verify(hashed, "Pässword"), false);
});

test("an unknown user costs what a known one costs, and is never believed", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 10 });
  const hashed = await hasher.hash("password");
  const known = await fastest(() => hasher.verify(hashed, "wrong"));
  const unknown = await fastest(() => hasher.verifyNothing("wrong"));
  assert.equal(await hasher.verifyNothing(""), false);
  assert.ok(unknown > known / 3 && unknown < known * 3, `${unknown} ms beside ${known} ms`);
});

test("beyond the queue a log-in is refused at once, and those in it are served in turn", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 2 });
  const all = await Promise.allSettled(["a", "b", "c", "d"].map((password) => hasher.verifyNothing(password)));

  assert.deepEqual(
    all.map(({ status }) => status),
    ["fulfilled", "fulfilled", "fulfilled", "rejected"],
  );
  const { reason } = all[3] as PromiseRejectedResult;
  assert.equal(reason.code, "OVERLOADED");
  assert.ok(reason.retryAfterSeconds > 0);
  assert.equal(await hasher.verifyNothing("later"), false);
});

test("a hash that is none is an error, and the next password is checked all the same", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 10 });
  await assert.rejects(hasher.verify("no hash", "password"), /could not be hashed/);
  assert.equal(await hasher.verify(await hasher.hash("password"), "password"), true);
});

test("who has the turn keeps it to the end of its work", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 10 });
  const order: string[] = [];
  const work = (name: string) =>
    hasher.inTurn(async (verify) => {
      order.push(`${name} begins`);
      assert.equal(await verify(null, name), false);
      await new Promise(setImmediate);
      order.push(`${name} ends`);
    });
  await Promise.all([work("a"), work("b")]);
  assert.deepEqual(order, ["a begins", "a ends", "b begins", "b ends"]);
});

// Elsewhere a thread has the priority of its process.
test("the thread that hashes gives way to the others", { skip: process.platform !== "linux" }, async () => {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 10 });
  await hasher.hash("password");
  const priorities = readdirSync("/proc/self/task").map((id) => getPriority(Number(id)));
  assert.ok(priorities.includes(10), `${priorities}`);
  assert.ok(getPriority() < 10);
});

async function fastest(work: () => Promise<unknown>): Promise<number> {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 4; run += 1) {
    const startMs = performance.now();
    await work();
    bestMs = Math.min(bestMs, performance.now() - startMs);
  }
  return bestMs;
}
