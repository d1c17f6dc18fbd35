import assert from "node:assert/strict";
import { test } from "node:test";
import { deleteOldEvents, readHead } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import {
  appendEvents,
  countingDb,
  openTestClient,
  openTestFeeds,
  setMember,
  testPrincipal,
} from "../testing/test-feeds.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { maxBufferedBytes } from "./outlet.ts";

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const at = (position: number) => ({ position, mark: null });

test("a slow client is disconnected when a mebibyte waits for it, and delays no other client", async (t) => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const feed = await process.feed();
  const [slow, quick] = [
    openTestClient(testPrincipal(line, "agent"), { isSlow: true }),
    openTestClient(testPrincipal(line, "agent")),
  ];
  for (const { client } of [slow, quick]) {
    feed.join(client);
    await feed.catchUp(client, feed.head);
  }
  const before = feed.head.position;
  const count = 400;
  for (let batch = 0; batch < 4; batch += 1) await appendEvents(line, chat, count / 4, "x".repeat(4_000));
  process.notify();
  await until("the quick client has the events", () => quick.frames.length === count);
  assert.deepEqual(quick.positions(), range(before + 1, before + count));
  assert.equal(slow.closing(), "slow");
  // The size of the buffer is checked before each frame.
  assert.ok(slow.most() <= maxBufferedBytes + 5_000, `${slow.most()} bytes waited`);
  assert.ok(slow.most() > maxBufferedBytes - 5_000, "it was disconnected too early");
  t.diagnostic(`${slow.most()} bytes waited at the most`);
});

test("a client that catches up slowly is not disconnected, and goes live after the last past event", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 6; batch += 1) await appendEvents(line, chat, 100, "x".repeat(30_000));
  const feed = await process.feed();
  const slow = openTestClient(testPrincipal(line, "agent"), { isSlow: true });
  feed.join(slow.client);
  let count: number | null | undefined;
  void feed.catchUp(slow.client, at(start)).then((sent) => {
    count = sent;
  });
  // Meanwhile the feed grows.
  await appendEvents(line, chat, 50, "new");
  process.notify();
  await until("the slow client catches up", () => {
    slow.read();
    return count !== undefined;
  });
  await appendEvents(line, chat, 5, "live");
  process.notify();
  await until("the slow client is live", () => {
    slow.read();
    return slow.frames.length === 655;
  });
  assert.deepEqual(slow.positions(), range(start + 1, start + 655));
  assert.equal(slow.closing(), null);
  assert.ok(slow.most() < maxBufferedBytes / 4, `${slow.most()} bytes waited`);
});

test("a client catches up with ten thousand events while more happen, and gets each once", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const user = await line.addPerson("ana");
  const [chat, other] = [await line.addConversation(user), await line.addConversation(await line.addPerson("ben"))];
  const start = await readHead(line.pool, line.workspaceId);
  for (let batch = 0; batch < 10; batch += 1) {
    await appendEvents(line, chat, 900);
    await appendEvents(line, other, 100);
  }
  const feed = await process.feed();
  const [agent, member] = [
    openTestClient(testPrincipal(line, "agent")),
    openTestClient(testPrincipal(line, "member", user)),
  ];
  for (const { client } of [agent, member]) feed.join(client);
  const catching = Promise.all([feed.catchUp(agent.client, at(start)), feed.catchUp(member.client, at(start))]);
  for (let more = 0; more < 20; more += 1) {
    await appendEvents(line, chat, 5);
    process.notify();
  }
  await catching;
  await until("both clients have all events", () => agent.frames.length === 10_100 && member.frames.length === 9_100);
  assert.deepEqual(agent.positions(), range(start + 1, start + 10_100));
  assert.deepEqual(
    member.positions(),
    member.positions().toSorted((a, b) => a - b),
  );
  assert.equal(new Set(member.positions()).size, 9_100);
});

test("a member gets the events of a conversation from joining it until leaving it", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ben, await line.addPerson("carl"));
  const feed = await process.feed();
  const client = openTestClient(testPrincipal(line, "member", ana));
  feed.join(client.client);
  await feed.catchUp(client.client, feed.head);
  const seen = () => client.frames.splice(0).map(({ type }) => type);
  const happens = async (work: () => Promise<unknown>) => {
    await work();
    process.notify();
    const head = await readHead(line.pool, line.workspaceId);
    await until("the feed is at the newest event", () => feed.head.position === head);
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

test("a member who left a conversation while no client was connected gets none of its events", async () => {
  await using line = await startPipeline({ delivers: false });
  const hasty: Clock = {
    ...systemClock,
    after: (delayMs, call) => systemClock.after(Math.min(delayMs, 20), call),
  };
  await using process = openTestFeeds(line, line.pool, hasty);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ana, ben);
  const start = await readHead(line.pool, line.workspaceId);
  await appendEvents(line, chat, 3);
  const listen = async () => {
    const feed = await process.feed();
    const client = openTestClient(testPrincipal(line, "member", ana));
    feed.join(client.client);
    await feed.catchUp(client.client, at(start));
    feed.leave(client.client);
    process.feeds.closeLater(feed);
    return client.frames.map(({ type }) => type);
  };
  assert.deepEqual(await listen(), ["MESSAGE_STATUS", "MESSAGE_STATUS", "MESSAGE_STATUS"]);
  await until("the empty feed is closed", () => process.feeds.peek(line.workspaceId) === undefined);
  await setMember(line, chat, ana, false);
  assert.deepEqual(await listen(), ["CONVERSATION"]);
});

test("deleted events are a gap for clients with an older cursor, and for no others", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  await appendEvents(line, chat, 120);
  const oldest = await readHead(line.pool, line.workspaceId);
  const now = await momentBetween();
  await appendEvents(line, chat, 120);
  const feed = await process.feed();
  await deleteOldEvents(line.pool, now, 0);
  const resume = async (after: number) => {
    const client = openTestClient(testPrincipal(line, "agent"));
    feed.join(client.client);
    const count = await feed.catchUp(client.client, at(after));
    return { count, first: client.frames[0], positions: client.positions() };
  };
  for (const after of [0, 1, oldest - 1]) {
    assert.deepEqual(await resume(after), {
      count: 0,
      first: { type: "GAP", cursor: feed.cursor(), reason: "expired" },
      positions: [oldest + 120],
    });
  }
  for (const after of [oldest, oldest + 7]) {
    assert.deepEqual((await resume(after)).positions, range(after + 1, oldest + 120));
  }
  assert.deepEqual((await resume(oldest + 10_000)).first, { type: "GAP", cursor: feed.cursor(), reason: "unknown" });
});

test("two thousand clients that resume at once take few more queries than twenty", async (t) => {
  const queriesFor = async (count: number) => {
    await using line = await startPipeline({ delivers: false });
    const counting = countingDb(line.pool);
    // How often the feed is polled meanwhile depends on how long it takes.
    const neverPolls: Clock = {
      ...systemClock,
      after: (ms, callback) => (ms >= 1_000 ? () => {} : systemClock.after(ms, callback)),
    };
    await using process = openTestFeeds(line, counting.db, neverPolls);
    const users = [await line.addPerson("ana"), await line.addPerson("ben")];
    const chat = await line.addConversation(...users);
    await appendEvents(line, chat, 50);
    const now = await momentBetween();
    await appendEvents(line, chat, 3_000);
    await deleteOldEvents(line.pool, now, 0);
    const head = await readHead(line.pool, line.workspaceId);
    const feed = await process.feed();
    const before = counting.count();
    const clients = Array.from({ length: count }, (_, index) => {
      const principal =
        index % 2 === 0 ? testPrincipal(line, "agent") : testPrincipal(line, "member", users[index % 4 === 1 ? 0 : 1]);
      return openTestClient(principal);
    });
    // From all over the feed, from before the oldest event, and from ahead of this process.
    const resumed = clients.map(({ client }, index) => {
      feed.join(client);
      return feed.catchUp(
        client,
        at(index % 10 === 0 ? 3 : index % 10 === 1 ? head + 5 : head - 1 - Math.floor((2_900 * index) / count)),
      );
    });
    await Promise.all(resumed);
    return counting.count() - before;
  };
  const [few, many] = [await queriesFor(20), await queriesFor(2_000)];
  // The longer they take, the more often the feed polls for new events.
  assert.ok(many <= few * 5, `${many} queries for 2,000 and ${few} for 20`);
  t.diagnostic(`${many} queries for 2,000 and ${few} for 20`);
});

/** After what has been written by now, and before what is written next: the database's time is finer than ours. */
async function momentBetween(): Promise<Date> {
  const now = Date.now() + 2;
  await until("the clock moves on", () => Date.now() > now);
  return new Date(now);
}
