import assert from "node:assert/strict";
import { test } from "node:test";
import { openRounds } from "./rounds.ts";

/** Each pause lasts until the test ends it. */
function heldClock() {
  const waiting: (() => void)[] = [];
  return {
    now: () => 0,
    elapsed: () => 0,
    after(_delayMs: number, callback: () => void) {
      waiting.push(callback);
      return () => {};
    },
    async goOn() {
      waiting.splice(0).forEach((callback) => {
        callback();
      });
      await settle();
    },
  };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("the first round starts at once, those that ask meanwhile share the next one", async () => {
  const clock = heldClock();
  let rounds = 0;
  const work = openRounds(clock, 5, async () => {
    rounds += 1;
  });
  work.ask();
  assert.equal(rounds, 1);
  for (let i = 0; i < 100; i += 1) work.ask();
  await settle();
  assert.equal(rounds, 1);
  await clock.goOn();
  assert.equal(rounds, 2);
  await clock.goOn();
  assert.equal(rounds, 2);
  work.ask();
  assert.equal(rounds, 3);
});

test("close waits for what was asked, and for no pause", async () => {
  let rounds = 0;
  const work = openRounds(heldClock(), 5, async () => {
    rounds += 1;
  });
  work.ask();
  work.ask();
  await work.close();
  await work.close();
  assert.equal(rounds, 2);
});
