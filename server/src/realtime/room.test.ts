import assert from "node:assert/strict";
import { test } from "node:test";
import { deleteOldEvents, readHead } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import {
  appendEvents,
  countingDb,
  openTestReader,
  openTestRooms,
  setMember,
  testPrincipal,
} from "../testing/test-rooms.ts";
import { until } from "../testing/until.ts";
import { maxBufferedBytes } from "./subscriber.ts";

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("a slow reader is dropped when a mebibyte waits for it, and delays nobody", async (t) => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const room = await process.room();
  const [slow, quick] = [
    openTestReader(testPrincipal(line, "agent"), { isSlow: true }),
    openTestReader(testPrincipal(line, "agent")),
  ];
  for (const { subscriber } of [slow, quick]) {
    room.join(subscriber);
    await room.catchUp(subscriber, room.position());
  }
  const before = room.position();
  const count = 400;
  for (let batch = 0; batch < 4; batch += 1) await appendEvents(line, chat, count / 4, "x".repeat(4_000));
  process.tell();
  await until("the quick reader has the events", () => quick.told.length === count);
  assert.deepEqual(quick.positions(), range(before + 1, before + count));
  assert.equal(slow.closing(), "slow");
  // The last frame and a little: what is written is looked at then.
  assert.ok(slow.most() <= maxBufferedBytes + 5_000, `${slow.most()} bytes waited`);
  assert.ok(slow.most() > maxBufferedBytes - 5_000, "it was dropped too early");
  t.diagnostic(`${slow.most()} bytes waited at the most`);
});

test("a reader in a long catch-up that reads slowly is not dropped, however large the past, and goes live behind it", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 6; batch += 1) await appendEvents(line, chat, 100, "x".repeat(30_000));
  const room = await process.room();
  const slow = openTestReader(testPrincipal(line, "agent"), { isSlow: true });
  room.join(slow.subscriber);
  let count: number | null | undefined;
  void room.catchUp(slow.subscriber, start).then((told) => {
    count = told;
  });
  // Meanwhile things go on happening.
  await appendEvents(line, chat, 50, "new");
  process.tell();
  await until("the slow reader catches up", () => {
    slow.read();
    return count !== undefined;
  });
  await appendEvents(line, chat, 5, "live");
  process.tell();
  await until("the slow reader is live", () => {
    slow.read();
    return slow.told.length === 655;
  });
  assert.deepEqual(slow.positions(), range(start + 1, start + 655));
  assert.equal(slow.closing(), null);
  assert.ok(slow.most() < maxBufferedBytes / 4, `${slow.most()} bytes waited`);
});

test("ten thousand events are caught up with while more happen, none lost and none twice", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const user = await line.addPerson("ana");
  const [chat, other] = [await line.addConversation(user), await line.addConversation(await line.addPerson("ben"))];
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 10; batch += 1) {
    await appendEvents(line, chat, 900);
    await appendEvents(line, other, 100);
  }
  const room = await process.room();
  const [agent, member] = [
    openTestReader(testPrincipal(line, "agent")),
    openTestReader(testPrincipal(line, "member", user)),
  ];
  for (const { subscriber } of [agent, member]) room.join(subscriber);
  const catching = Promise.all([room.catchUp(agent.subscriber, start), room.catchUp(member.subscriber, start)]);
  for (let more = 0; more < 20; more += 1) {
    await appendEvents(line, chat, 5);
    process.tell();
  }
  await catching;
  await until("both readers have all events", () => agent.told.length === 10_100 && member.told.length === 9_100);
  assert.deepEqual(agent.positions(), range(start + 1, start + 10_100));
  assert.deepEqual(
    member.positions(),
    member.positions().toSorted((a, b) => a - b),
  );
  assert.equal(new Set(member.positions()).size, 9_100);
});

test("a member sees a conversation from when it comes until it leaves", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ben, await line.addPerson("carl"));
  const room = await process.room();
  const reader = openTestReader(testPrincipal(line, "member", ana));
  room.join(reader.subscriber);
  await room.catchUp(reader.subscriber, room.position());
  const seen = () => reader.told.splice(0).map(({ type }) => type);
  const happens = async (work: () => Promise<unknown>) => {
    await work();
    process.tell();
    const head = await readHead(line.pool, line.workspaceId);
    await until("the room is at the newest event", () => room.position() === head);
  };
  await happens(() => appendEvents(line, chat, 2));
  assert.deepEqual(seen(), []);
  await happens(() => setMember(line, chat, ana, true));
  await happens(() => appendEvents(line, chat, 2));
  assert.deepEqual(seen(), ["CONVERSATION", "MESSAGE_STATUS", "MESSAGE_STATUS"]);
  await happens(() => setMember(line, chat, ana, false));
  await happens(() => appendEvents(line, chat, 2));
  assert.deepEqual(seen(), ["CONVERSATION"]);
});

test("who left while nobody listened sees nothing of it afterwards", async () => {
  await using line = await startPipeline({ delivers: false });
  const hasty: Clock = {
    ...systemClock,
    after: (delayMs, call) => systemClock.after(Math.min(delayMs, 20), call),
  };
  await using process = openTestRooms(line, line.pool, hasty);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ana, ben);
  const start = await readHead(line.pool, line.workspaceId);
  await appendEvents(line, chat, 3);
  const listen = async () => {
    const room = await process.room();
    const reader = openTestReader(testPrincipal(line, "member", ana));
    room.join(reader.subscriber);
    await room.catchUp(reader.subscriber, start);
    room.leave(reader.subscriber);
    process.rooms.left(room);
    return reader.told.map(({ type }) => type);
  };
  assert.deepEqual(await listen(), ["MESSAGE_STATUS", "MESSAGE_STATUS", "MESSAGE_STATUS"]);
  await until("the empty room is closed", () => process.rooms.peek(line.workspaceId) === undefined);
  await setMember(line, chat, ana, false);
  assert.deepEqual(await listen(), ["CONVERSATION"]);
});

test("what was cleared away is a gap for those before it, and for nobody else", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  await appendEvents(line, chat, 120);
  const oldest = await readHead(line.pool, line.workspaceId);
  const now = await momentBetween();
  await appendEvents(line, chat, 120);
  const room = await process.room();
  await deleteOldEvents(line.pool, now, 0);
  const told = async (after: number) => {
    const reader = openTestReader(testPrincipal(line, "agent"));
    room.join(reader.subscriber);
    const count = await room.catchUp(reader.subscriber, after);
    return { count, first: reader.told[0], positions: reader.positions() };
  };
  for (const after of [0, 1, oldest - 1]) {
    assert.deepEqual(await told(after), {
      count: 0,
      first: { type: "GAP", cursor: room.cursor(), reason: "expired" },
      positions: [oldest + 120],
    });
  }
  for (const after of [oldest, oldest + 7]) {
    assert.deepEqual((await told(after)).positions, range(after + 1, oldest + 120));
  }
  assert.deepEqual((await told(oldest + 10_000)).first, { type: "GAP", cursor: room.cursor(), reason: "unknown" });
});

test("two thousand readers that resume at once take few more queries than twenty", async (t) => {
  const queriesFor = async (count: number) => {
    await using line = await startPipeline({ delivers: false });
    const counting = countingDb(line.pool);
    // How often the feed is polled meanwhile depends on how long it takes.
    const neverPolls: Clock = {
      ...systemClock,
      after: (ms, callback) => (ms >= 1_000 ? () => {} : systemClock.after(ms, callback)),
    };
    await using process = openTestRooms(line, counting.db, neverPolls);
    const users = [await line.addPerson("ana"), await line.addPerson("ben")];
    const chat = await line.addConversation(...users);
    await appendEvents(line, chat, 50);
    const now = await momentBetween();
    await appendEvents(line, chat, 3_000);
    await deleteOldEvents(line.pool, now, 0);
    const head = await readHead(line.pool, line.workspaceId);
    const room = await process.room();
    const before = counting.count();
    const readers = Array.from({ length: count }, (_, index) => {
      const principal =
        index % 2 === 0 ? testPrincipal(line, "agent") : testPrincipal(line, "member", users[index % 4 === 1 ? 0 : 1]);
      return openTestReader(principal);
    });
    // From all over the feed, from before what is kept, and from ahead of this process.
    const resumed = readers.map(({ subscriber }, index) => {
      room.join(subscriber);
      return room.catchUp(
        subscriber,
        index % 10 === 0 ? 3 : index % 10 === 1 ? head + 5 : head - 1 - Math.floor((2_900 * index) / count),
      );
    });
    await Promise.all(resumed);
    return counting.count() - before;
  };
  const [few, many] = [await queriesFor(20), await queriesFor(2_000)];
  // The longer they take, the more often the room polls for new events.
  assert.ok(many <= few * 5, `${many} queries for 2,000 and ${few} for 20`);
  t.diagnostic(`${many} queries for 2,000 and ${few} for 20`);
});

/** After what has been written by now, and before what is written next: the database's time is finer than ours. */
async function momentBetween(): Promise<Date> {
  const now = Date.now() + 2;
  await until("the clock moves on", () => Date.now() > now);
  return new Date(now);
}
