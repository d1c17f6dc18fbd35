import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { openSightings, type Sighting } from "./sightings.ts";

const log = { info() {}, warn() {}, error: console.error };
const workspaceId = "w";

/** Processes that hear one another at once, but for what is lost, on a clock that is moved by hand. */
function openWorld() {
  let nowMs = 0;
  let isLosing = false;
  const timers = new Set<{ at: number; call: () => void }>();
  const listeners = new Set<(message: string) => void>();
  const clock: Clock = {
    now: () => nowMs,
    elapsed: () => nowMs,
    after(delayMs, call) {
      const timer = { at: nowMs + delayMs, call };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
  };
  function open(self: string) {
    const told: string[] = [];
    let isDead = false;
    const fanout: Fanout = {
      publish: (_channel, message) => {
        if (!isLosing && !isDead) for (const listener of [...listeners]) listener(message);
      },
      subscribe(_channel, listener) {
        const own = (message: string) => void (isDead || listener(message));
        listeners.add(own);
        return () => void listeners.delete(own);
      },
      onReconnect: () => () => {},
      [Symbol.asyncDispose]: async () => {},
    };
    const onChange = ({ userId, isOnline }: Sighting) => void told.push(`${userId} ${isOnline ? "came" : "left"}`);
    const sightings = openSightings({ self, fanout, clock, log, onChange });
    return {
      told,
      set: (userId: string, isOnline: boolean) => sightings.set({ workspaceId, userId, isOnline }),
      online: () => sightings.online(workspaceId).toSorted(),
      close: sightings.close,
      /** Hears and says nothing from now on, or hears and speaks again. */
      pause: (isPaused: boolean) => {
        isDead = isPaused;
      },
    };
  }
  return {
    open,
    lose(work: () => void): void {
      isLosing = true;
      work();
      isLosing = false;
    },
    async pass(seconds: number): Promise<void> {
      for (const until = nowMs + seconds * 1_000; nowMs < until; ) {
        nowMs += 1_000;
        for (const timer of [...timers]) if (timer.at <= nowMs && timers.delete(timer)) timer.call();
        await new Promise(setImmediate);
      }
    },
  };
}

test("a user is there while any process sees it; who arrives late is told of all", () => {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  b.set("ana", true);
  a.set("ana", false);
  b.set("ben", true);
  const late = world.open("c");
  for (const process of [a, b, late]) assert.deepEqual(process.online(), ["ana", "ben"]);
  b.set("ana", false);
  assert.deepEqual(a.told, ["ana came", "ben came", "ana left"]);
});

test("users of a process that was killed are gone within half a minute, those of a living one stay", async () => {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  a.set("both", true);
  b.set("both", true);
  a.pause(true);
  await world.pass(15);
  assert.deepEqual(b.online(), ["ana", "both"]);
  await world.pass(15);
  assert.deepEqual(b.online(), ["both"]);
  assert.deepEqual(b.told, ["ana came", "both came", "ana left"]);
});

test("a process that was silent for long and lives is believed again", async () => {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  a.pause(true);
  await world.pass(30);
  assert.deepEqual(b.online(), []);
  a.pause(false);
  await world.pass(10);
  assert.deepEqual(b.online(), ["ana"]);
});

test("words that were lost are made up for: who came, and who left", async () => {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  world.lose(() => {
    a.set("ana", false);
    a.set("ben", true);
    a.set("carl", true);
  });
  assert.deepEqual(b.online(), ["ana"]);
  await world.pass(15);
  assert.deepEqual(b.online(), ["ben", "carl"]);
});

test("a process that ends says so at once", async () => {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  await a.close();
  assert.deepEqual(b.online(), []);
});
