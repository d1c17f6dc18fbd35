import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { getPriority } from "node:os";
import { test } from "node:test";
import { until } from "../testing/until.ts";
import { openPasswordHasher } from "./password.ts";

const source = { address: "192.0.2.1", account: "ana" };
const lineOf = (total: number) => ({ total, perAddress: total, perAccount: total });

test("a password is stored as Argon2id with 19 MiB, and only it opens", async () => {
  const hasher = openPasswordHasher({ concurrency: 1 });
  const hashed = await hasher.hash("pässword");
  assert.match(hashed, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  assert.equal(await hasher.verify(hashed, "pässword".normalize("NFD")), true, "however the keyboard composes an ä");
  assert.equal(await hasher.verify(hashed, "Pässword"), false);
});

test("an unknown user costs what a known one costs, and never matches", async () => {
  const hasher = openPasswordHasher({ concurrency: 1 });
  const hashed = await hasher.hash("password");
  assert.equal(await hasher.verify(null, ""), false);
  // A busy machine can delay either one.
  await until("both take about the same time", async () => {
    const known = await fastest(() => hasher.verify(hashed, "wrong"));
    const unknown = await fastest(() => hasher.verify(null, "wrong"));
    return unknown > known / 3 && unknown < known * 3;
  });
});

test("a login beyond the queue is refused at once, and those in it are served in turn", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, line: lineOf(2) });
  const all = await Promise.allSettled(["a", "b", "c", "d"].map((password) => hasher.verify(null, password)));

  assert.deepEqual(
    all.map(({ status }) => status),
    ["fulfilled", "fulfilled", "fulfilled", "rejected"],
  );
  const { reason } = all[3] as PromiseRejectedResult;
  assert.equal(reason.code, "OVERLOADED");
  assert.ok(reason.retryAfterSeconds > 0);
  assert.equal(await hasher.verify(null, "later"), false);
});

test("an invalid hash is an error, and the next password is still checked", async () => {
  const hasher = openPasswordHasher({ concurrency: 1 });
  await assert.rejects(hasher.verify("no hash", "password"), /could not be hashed/);
  assert.equal(await hasher.verify(await hasher.hash("password"), "password"), true);
});

test("a turn lasts until the end of its work", async () => {
  const hasher = openPasswordHasher({ concurrency: 1 });
  const order: string[] = [];
  const work = (name: string) =>
    hasher.inTurn(source, async (verify) => {
      order.push(`${name} begins`);
      assert.equal(await verify(null, name), false);
      await new Promise(setImmediate);
      order.push(`${name} ends`);
    });
  await Promise.all([work("a"), work("b")]);
  assert.deepEqual(order, ["a begins", "a ends", "b begins", "b ends"]);
});

test("refused logins get different retry times, and a full queue refuses before any other work", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, line: lineOf(1) });
  hasher.requireRoom("");
  const both = [hasher.verify(null, "a"), hasher.verify(null, "b")];
  const seconds = new Set<number>();
  for (let n = 0; n < 8; n += 1) {
    assert.throws(
      () => hasher.requireRoom(""),
      ({ code, retryAfterSeconds }) => code === "OVERLOADED" && Boolean(seconds.add(retryAfterSeconds)),
    );
  }
  assert.deepEqual([...seconds].sort(), [1, 2, 3, 4, 5, 6, 7, 8]);
  await Promise.all(both);
});

// Many logins must not take the whole machine.
test("the next password waits until the place has paused twice as long as it worked", async () => {
  const hasher = openPasswordHasher({ concurrency: 1 });
  const times: number[] = [];
  const work = () =>
    hasher.inTurn(source, async (verify) => {
      const started = performance.now();
      await verify(null, "password");
      times.push(started, performance.now());
    });
  await work();
  await Promise.all([work(), work()]);
  const [, , started, ended, next] = times as [number, number, number, number, number];
  assert.ok(next - ended >= 1.5 * Math.min(ended - started, 100), `${next - ended} ms after ${ended - started} ms`);
});

// Elsewhere a thread has the priority of its process.
test("the password thread has a low priority", { skip: process.platform !== "linux" }, async () => {
  const own = getPriority();
  const hasher = openPasswordHasher({ concurrency: 1 });
  await hasher.hash("password");
  const priorities = readdirSync("/proc/self/task").map((id) => getPriority(Number(id)));
  assert.ok(priorities.includes(Math.max(own, 10)), `${priorities}`);
  assert.equal(getPriority(), own);
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
