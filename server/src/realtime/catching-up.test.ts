import assert from "node:assert/strict";
import { before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { Role } from "../../../contract/src/access.ts";
import { readHead } from "../events/events.ts";
import { maxJobs } from "../lib/loop-share.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { appendEvents, openTestReader, openTestRooms, testPrincipal } from "../testing/test-rooms.ts";
import { blockSize } from "./blocks.ts";
import type { Room } from "./room.ts";
import { lowWaterBytes, type Subscriber } from "./subscriber.ts";

// A reader that takes everything at once never made the sender wait: once all of its past was sent in one turn.

const opened = closeAfterTests();
let line: Pipeline;
let chat: string;

before(async () => {
  line = opened.use(await startPipeline({ delivers: false }));
  chat = await line.addConversation(await line.addPerson("ana"));
});

/**
 * In one turn of the event loop: the most bytes sent to these readers, the most events checked for one of them, and the most
 * readers for which any were checked.
 */
async function mostInATurn(readers: readonly Subscriber[], work: () => Promise<unknown>) {
  let bytes = 0;
  let [mostBytes, mostEvents, mostReaders] = [0, 0, 0];
  for (const { outlet } of readers) {
    const write = outlet.write;
    outlet.write = (frame, onTaken) => {
      bytes += frame.size;
      write(frame, onTaken);
    };
  }
  let isOver = false;
  const done = work().finally(() => {
    isOver = true;
  });
  let positions = readers.map(({ position }) => position);
  while (!isOver) {
    await setImmediate();
    mostBytes = Math.max(mostBytes, bytes);
    bytes = 0;
    const now = readers.map(({ position }) => position);
    // The first position is no step.
    const steps = now.map((position, index) => (positions[index] === 0 ? 0 : position - positions[index]!));
    mostEvents = Math.max(mostEvents, ...steps);
    mostReaders = Math.max(mostReaders, steps.filter((step) => step > 0).length);
    positions = now;
  }
  await done;
  return { mostBytes, mostEvents, mostReaders };
}

/** One reader, which joins, catches up from `start` and leaves. */
async function catchUpAs(role: Role, room: Room, start: number) {
  const { subscriber, told } = openTestReader(testPrincipal(line, role));
  room.join(subscriber);
  const most = await mostInATurn([subscriber], () => room.catchUp(subscriber, start));
  room.leave(subscriber);
  return { told, ...most };
}

test("a reader that takes all at once gets a bounded number of bytes in a turn of the event loop", async () => {
  await using process = openTestRooms(line);
  const start = await readHead(line.pool, line.workspaceId);
  const size = 30_000;
  for (let batch = 0; batch < 3; batch += 1) await appendEvents(line, chat, 100, "x".repeat(size));
  const room = await process.room();
  // Now the blocks are in memory, so reading them does not wait either.
  for (const _time of ["first", "again"]) {
    const { told, mostBytes } = await catchUpAs("agent", room, start);
    assert.equal(told.length, 300);
    assert.ok(mostBytes <= lowWaterBytes + size + 1_000, `${mostBytes} bytes`);
  }
});

test("a reader that may see nothing of a long past has one block checked in a turn", async () => {
  await using process = openTestRooms(line);
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 5; batch += 1) await appendEvents(line, chat, 1_000);
  const room = await process.room();
  for (const _time of ["first", "again"]) {
    const { told, mostEvents } = await catchUpAs("member", room, start);
    assert.equal(told.length, 0);
    assert.ok(mostEvents <= blockSize, `${mostEvents} events`);
  }
});

test("of many readers that reconnect at once, few get events in a turn", async () => {
  await using process = openTestRooms(line);
  const start = await readHead(line.pool, line.workspaceId);
  await appendEvents(line, chat, 30);
  const room = await process.room();
  const readers = Array.from({ length: 1_000 }, () => openTestReader(testPrincipal(line, "agent")));
  for (const { subscriber } of readers) room.join(subscriber);
  const { mostReaders } = await mostInATurn(
    readers.map(({ subscriber }) => subscriber),
    () => Promise.all(readers.map(({ subscriber }) => room.catchUp(subscriber, start))),
  );
  for (const { told } of readers) assert.equal(told.length, 30);
  assert.ok(mostReaders <= maxJobs, `${mostReaders} readers`);
});
