import assert from "node:assert/strict";
import { test } from "node:test";
import { systemOf } from "../audit/audit.ts";
import type { SendOutcome } from "../connectors/connector.ts";
import { replayDeadLetter } from "../dead-letters/dead-letters.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import { transaction } from "../lib/postgres.ts";
import { all, one, run } from "../lib/query.ts";
import { appendEvents } from "../testing/test-feeds.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { deleteOldEvents, type FeedPage, parseCursor, positionAt, readFeed, readHead, toCursor } from "./events.ts";

test("the feed has a conversation, its message and each change of status in order", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.settled();
  const [part] = await all<{ id: string }>(line.pool, "SELECT provider_message_id AS id FROM provider_messages");
  await line.receipt(part!.id, "read");
  const events = await eventsOf(line);
  assert.deepEqual(
    events.map((event) => event.name),
    ["conversation.created", "message.accepted", "message.in_transit", "message.sent", "message.read"],
  );
  assert.deepEqual(
    events.map((event) => event.position),
    [1, 2, 3, 4, 5],
  );
  const [, said, , sent] = events;
  assert.equal(said!.conversationId, chat);
  const { timestamp, created_at, ...frame } = said!.frame;
  assert.ok(Math.abs(Number(timestamp) - Date.now()) < 60_000);
  assert.equal(Date.parse(String(created_at)), timestamp);
  const participants = { sender_id: line.workspaceId, recipient_id: frame.recipient_id };
  assert.deepEqual(frame, {
    type: "NEW_MESSAGE",
    event: "message.accepted",
    at: said!.at.toISOString(),
    message_id: messageId,
    conversation_id: chat,
    conversation_type: "private",
    seq: 1,
    direction: "outbound",
    ...participants,
    sender_name: "Acme",
    ...{ channel: null, channel_account_id: null, address: null, provider_message_id: null },
    content: "oi",
    payload: { type: "text", text: "oi" },
    file_id: null,
    reply_to: null,
    route: null,
    sent_at: null,
  });
  const [delivery] = await line.deliveriesOf(messageId);
  assert.equal(sent!.frame.delivery_id, delivery!.delivery_id);
  assert.equal(sent!.frame.status, "sent");
  assert.equal(sent!.frame.provider_message_id, part!.id);
  assert.equal(sent!.memberFrame!.provider_message_id, null);
});

test("the event of a refused delivery has the error, that of a replayed one has none", async () => {
  await using line = await startPipeline({
    platform: () => ({ kind: "refused", reason: "WINDOW_CLOSED", detail: "too late" }),
  });
  const chat = await line.addConversation(await line.addPerson("ana"));
  await line.say(chat, "oi");
  await line.settled();
  const failed = (await eventsOf(line)).at(-1)!;
  assert.deepEqual(
    [failed.name, failed.frame.error],
    ["message.failed", { code: "WINDOW_CLOSED", message: "too late" }],
  );
});

test("an event reads the same later, even after a replay has reset its delivery", async () => {
  let answer: SendOutcome = { kind: "sent", providerMessageId: "first" };
  await using line = await startPipeline({ platform: () => answer });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.settled();
  await line.receipt("first", "failed");
  const before = await eventsOf(line);
  const [delivery] = await line.deliveriesOf(messageId);
  answer = { kind: "sent", providerMessageId: "second" };
  await replayDeadLetter(line.deps, systemOf(line.workspaceId), delivery!.delivery_id);
  await until("it is sent again", async () => (await line.deliveriesOf(messageId))[0]!.status === "sent");
  const after = await eventsOf(line);
  assert.deepEqual(after.slice(0, before.length), before);
  assert.deepEqual(
    after.slice(before.length - 1).map(({ name, frame }) => [name, frame.provider_message_id]),
    [
      ["message.failed", "first"],
      ["message.in_transit", null],
      ["message.sent", "second"],
    ],
  );
});

test("an event stored before a status had further fields has null in them", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const before = await readHead(line.pool, line.workspaceId);
  await appendEvents(line, chat, 1);
  const [old] = events(await readFeed(line.pool, line.workspaceId, before, 10)).events;
  const { sent_at, platform_at, provider_message_id, address, sender_name } = old!.frame;
  assert.deepEqual([sent_at, platform_at, provider_message_id, address, sender_name], [null, null, null, null, null]);
});

test("pages of any size hold the same events, each once", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  await Promise.all(Array.from({ length: 40 }, (_, index) => line.say(chat, `${index}`)));
  await line.settled();
  const whole = await eventsOf(line);
  assert.equal(whole.at(-1)!.position, whole.length);
  const seqs = whole.flatMap(({ frame }) => (frame.type === "NEW_MESSAGE" ? [frame.seq] : []));
  assert.deepEqual(
    seqs,
    Array.from({ length: 40 }, (_, index) => index + 1),
  );
  for (const limit of [1, 7, 64]) {
    const read = [];
    for (let after = 0; ; ) {
      const page = events(await readFeed(line.databases.dbOf(line.workspaceId), line.workspaceId, after, limit));
      if (page.events.length === 0) break;
      assert.ok(page.events.length <= limit);
      read.push(...page.events);
      after = page.last;
    }
    assert.deepEqual(read, whole, `by ${limit}`);
  }
});

// A thousand of the longest would be many megabytes in memory.
test("a page of long messages ends at about 1 MiB, and the next page continues", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const count = 40;
  for (let said = 0; said < count; said += 1) await line.say(chat, "a".repeat(60_000));
  const seqs: unknown[] = [];
  let after = 0;
  for (const head = await readHead(line.pool, line.workspaceId); after < head; ) {
    const page = events(await readFeed(line.pool, line.workspaceId, after, 1_000));
    assert.ok(JSON.stringify(page.events.map(({ frame }) => frame)).length < 2 * maxPageBytes);
    seqs.push(...page.events.flatMap(({ frame }) => (frame.type === "NEW_MESSAGE" ? [frame.seq] : [])));
    after = page.last;
  }
  assert.deepEqual(
    seqs,
    Array.from({ length: count }, (_, index) => index + 1),
  );
});

test("an event of a transaction that commits later is never skipped", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const held = Promise.withResolvers<void>();
  const isUnderWay = Promise.withResolvers<void>();
  const title = "UPDATE conversations SET title = $2 WHERE conversation_id = $1";
  const slow = transaction(line.pool, async (tx) => {
    await tx.query("SET CONSTRAINTS ALL IMMEDIATE");
    await run(tx, title, [chat, "slow"]);
    isUnderWay.resolve();
    await held.promise;
  });
  await isUnderWay.promise;
  const said = line.say(chat, "after it");
  const head = await readHead(line.pool, line.workspaceId);
  held.resolve();
  await Promise.all([slow, said]);
  const page = events(await readFeed(line.pool, line.workspaceId, head, 10));
  assert.deepEqual(
    page.events.map(({ name, position }) => [name, position]),
    [
      ["conversation.updated", head + 1],
      ["message.accepted", head + 2],
    ],
  );
});

test("a conversation that changes in many statements is one event, also for members who left", async () => {
  await using line = await startPipeline({ delivers: false });
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ana, ben);
  const before = await readHead(line.pool, line.workspaceId);
  await transaction(line.pool, async (tx) => {
    await run(tx, "UPDATE conversations SET title = 'A' WHERE conversation_id = $1", [chat]);
    await run(tx, "UPDATE conversations SET title = 'B' WHERE conversation_id = $1", [chat]);
    await run(tx, "DELETE FROM members WHERE conversation_id = $1 AND participant_id = $2", [chat, ben]);
  });
  const page = events(await readFeed(line.pool, line.workspaceId, before, 10));
  assert.deepEqual(
    page.events.map(({ name, alsoSeenBy }) => [name, alsoSeenBy]),
    [
      ["conversation.updated", null],
      ["conversation.updated", ben],
    ],
  );
  const shown = page.events[0]!.frame.conversation as { title: string; members: unknown[] };
  assert.deepEqual([shown.title, shown.members.length], ["B", 2]);
});

test("a cursor whose next events were deleted, or that is ahead of the feed, is a gap", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  await line.say(chat, "old");
  await line.settled();
  const head = await readHead(line.pool, line.workspaceId);
  const { rows } = await one<{ rows: number }>(line.pool, "SELECT count(*) AS rows FROM events");
  assert.equal(await deleteOldEvents(line.pool, new Date(Date.now() + 1_000), 0), rows);
  const gapAt = async (after: number) => {
    const { cursor, ...page } = await readFeed(line.pool, line.workspaceId, after, 10);
    assert.equal(cursor.position, head);
    return page;
  };
  assert.deepEqual(await gapAt(0), { kind: "gap", reason: "expired", head });
  assert.deepEqual(await gapAt(head + 1), { kind: "gap", reason: "unknown", head });
  assert.deepEqual(events(await readFeed(line.pool, line.workspaceId, head, 10)).events, []);
  const since = new Date();
  await line.say(chat, "new");
  assert.equal(await positionAt(line.pool, line.workspaceId, since), head);
  await until("the event is sent", async () => (await readHead(line.pool, line.workspaceId)) > head + 2);
});

test("a hole in the middle, where the database's time went back, is a gap and never skipped", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  for (const text of ["one", "two", "three", "four"]) await line.say(chat, text);
  const head = await readHead(line.pool, line.workspaceId);
  await run(line.admin, "DELETE FROM events WHERE last_position = $1", [head - 1]);
  const page = events(await readFeed(line.pool, line.workspaceId, 0, 100));
  assert.deepEqual([page.last, page.events.length], [head - 2, head - 2]);
  const { cursor: _newest, ...behind } = await readFeed(line.pool, line.workspaceId, head - 2, 100);
  assert.deepEqual(behind, { kind: "gap", reason: "expired", head });
});

test("a workspace reads its own feed and no other", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  await line.say(chat, "oi");
  const stranger = line.databases.dbOf("00000000-0000-4000-8000-000000000000");
  assert.deepEqual(await readFeed(stranger, line.workspaceId, 0, 10), {
    kind: "events",
    events: [],
    last: 0,
    head: 0,
    cursor: { position: 0, mark: null },
  });
});

test("text that is no cursor is refused", () => {
  assert.deepEqual(parseCursor("17"), { position: 17, mark: null });
  assert.deepEqual(parseCursor(toCursor({ position: 17, mark: 35 ** 4 })), { position: 17, mark: 35 ** 4 });
  for (const wrong of ["", "-1", "1-", "1-A", "1-abcdefg", "1.5", "x", "1e3", " 1", "9".repeat(16)]) {
    assert.throws(() => parseCursor(wrong), { code: "VALIDATION_ERROR" }, wrong);
  }
});

async function eventsOf(line: Pipeline) {
  return events(await readFeed(line.pool, line.workspaceId, 0, 1_000)).events;
}

function events(page: FeedPage) {
  if (page.kind !== "events") throw new Error(`a gap: ${page.reason}`);
  return page;
}
