import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { OnlineUsers } from "./online-users.ts";

const log = { info() {}, warn() {}, error: console.error };
const workspaceId = "w";

/** Processes that receive announcements at once, except those that are lost, on a clock that is moved by hand. */
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
    const changes: string[] = [];
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
    let before = new Set<string>();
    let users: OnlineUsers | null = null;
    const onChange = () => {
      // Announcements arrive at once here, also while it is opened.
      const now = users?.of(workspaceId) ?? before;
      for (const userId of now.difference(before)) changes.push(`${userId} came`);
      for (const userId of before.difference(now)) changes.push(`${userId} left`);
      before = now;
    };
    const opened = new OnlineUsers({ self, fanout, clock, log, onChange });
    users = opened;
    return {
      changes,
      set: (userId: string, isOnline: boolean) => opened.set(userId, workspaceId, isOnline),
      online: () => [...opened.of(workspaceId)].toSorted(),
      close: () => opened.close(),
      /** Receives and sends nothing from now on, or does so again. */
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

/** Ana is connected to the first of two processes. */
function openTwo() {
  const world = openWorld();
  const [a, b] = [world.open("a"), world.open("b")];
  a.set("ana", true);
  return { world, a, b };
}

test("a user is online while connected to any process, and a process that starts late knows all users", () => {
  const { world, a, b } = openTwo();
  b.set("ana", true);
  a.set("ana", false);
  b.set("ben", true);
  const late = world.open("c");
  for (const process of [a, b, late]) assert.deepEqual(process.online(), ["ana", "ben"]);
  b.set("ana", false);
  assert.deepEqual(a.changes, ["ana came", "ben came", "ana left"]);
});

test("users of a process that was killed are offline within half a minute, those of others stay online", async () => {
  const { world, a, b } = openTwo();
  a.set("both", true);
  b.set("both", true);
  a.pause(true);
  await world.pass(15);
  assert.deepEqual(b.online(), ["ana", "both"]);
  await world.pass(15);
  assert.deepEqual(b.online(), ["both"]);
  assert.deepEqual(b.changes, ["ana came", "both came", "ana left"]);
});

test("users of a process that was silent for long are online again when it announces itself", async () => {
  const { world, a, b } = openTwo();
  a.pause(true);
  await world.pass(30);
  assert.deepEqual(b.online(), []);
  a.pause(false);
  await world.pass(10);
  assert.deepEqual(b.online(), ["ana"]);
});

test("lost announcements of users who came and left are repaired", async () => {
  const { world, a, b } = openTwo();
  world.lose(() => {
    a.set("ana", false);
    a.set("ben", true);
    a.set("carl", true);
  });
  assert.deepEqual(b.online(), ["ana"]);
  await world.pass(15);
  assert.deepEqual(b.online(), ["ben", "carl"]);
});

test("a lost announcement is repaired although the number of users is the same", async () => {
  const { world, a, b } = openTwo();
  world.lose(() => {
    a.set("ana", false);
    a.set("ben", true);
  });
  await world.pass(15);
  assert.deepEqual(b.online(), ["ben"]);
});

test("users of a process that stops are offline at once", async () => {
  const { a, b } = openTwo();
  await a.close();
  assert.deepEqual(b.online(), []);
});
