import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { type ConversationId, newId } from "../lib/ids.ts";
import { canonicalJson } from "../lib/json.ts";
import { openPool } from "../lib/postgres.ts";
import { all, one, run } from "../lib/query.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { watchedDb } from "../testing/watched-db.ts";
import { Acceptor, type AcceptResult, maxPartLength } from "./accept.ts";
import type { NewMessage } from "./write-messages.ts";

test("32 batches at a time, through two acceptors, into the same conversations: seq has no gaps and keeps each batch's order", async () => {
  await using line = await startPipeline({ delivers: false });
  const other = openSecond(line);
  const ana = await line.addPerson("ana");
  const chats = await Promise.all([1, 2, 3, 4].map(() => line.addConversation(ana)));
  const batches = Array.from({ length: 32 }, (_, batch) =>
    Array.from({ length: 25 }, (_, index) => messageTo(line, chats[(batch + index) % 4]!, `${batch}.${index}`)),
  );
  const results = await Promise.all(
    batches.map((batch, index) => (index % 2 === 0 ? line.acceptor : other).accept(batch)),
  );
  const accepted = results.flat();
  assert.ok(accepted.every((result) => result.kind === "accepted" && !result.isReplayed));
  for (const chat of chats) {
    const stored = await all<{ seq: number; message_id: string }>(
      line.pool,
      "SELECT seq, message_id FROM messages WHERE conversation_id = $1 ORDER BY seq",
      [chat],
    );
    assert.deepEqual(
      stored.map((row) => row.seq),
      stored.map((_, index) => index + 1),
    );
    const seqOf = new Map(stored.map((row) => [row.message_id, row.seq]));
    for (const batch of batches) {
      const seqs = batch.filter((one) => one.conversationId === chat).map((one) => seqOf.get(one.messageId)!);
      assert.deepEqual(
        seqs.toSorted((a, b) => a - b),
        seqs,
      );
    }
    const row = await one<{ last_seq: number }>(
      line.pool,
      "SELECT last_seq FROM conversations WHERE conversation_id = $1",
      [chat],
    );
    assert.equal(row.last_seq, stored.length);
  }
  await line.routed();
  const { count } = await one<{ count: number }>(line.pool, "SELECT count(*) FROM deliveries");
  assert.equal(count, 800);
});

// Encoding a hundred long messages as parameters of one statement held the event loop for 200 ms.
test("long messages that arrive together are written in several statements, in order", async () => {
  await using line = await startPipeline({ delivers: false });
  const lengths: number[] = [];
  const db = watchedDb(line.databases.acceptDbOf(line.workspaceId), ({ name, values }) => {
    if (name === "insert_messages") lengths.push(JSON.stringify(values).length);
  });
  const acceptor = openSecond(line, () => db);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const messages = Array.from({ length: 20 }, (_, index) => messageTo(line, chat, `${index} ${"é".repeat(60_000)}`));
  const results = await acceptor.accept(messages);
  assert.deepEqual(
    results.map((result) => result.kind === "accepted" && result.seq),
    messages.map((_, index) => index + 1),
  );
  assert.ok(lengths.length > 1 && Math.max(...lengths) < 2 * maxPartLength, lengths.join(" "));
});

test("one id from 200 concurrent callers of two acceptors creates one message, and all get the same response", async () => {
  await using line = await startPipeline({ delivers: false });
  const other = openSecond(line);
  const message = messageTo(line, await line.addConversation(await line.addPerson("ana")), "oi");
  const results = await Promise.all(
    Array.from(
      { length: 200 },
      async (_, index) => (await (index % 2 === 0 ? line.acceptor : other).accept([message]))[0]!,
    ),
  );
  assert.deepEqual(
    new Set(results.map((one) => one.kind === "accepted" && `${one.seq} ${one.createdAt.getTime()}`)).size,
    1,
  );
  assert.equal((await storedTexts(line)).length, 1);
  await line.routed();
  assert.equal((await line.deliveriesOf(message.messageId)).length, 1);
});

test("the same ids in overlapping batches of two acceptors settle to one message each", async () => {
  await using line = await startPipeline({ delivers: false });
  const other = openSecond(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const messages = Array.from({ length: 60 }, (_, index) => messageTo(line, chat, `${index}`));
  const calls = Array.from({ length: 12 }, (_, call) =>
    (call % 2 === 0 ? line.acceptor : other).accept(messages.slice((call % 6) * 8, (call % 6) * 8 + 20)),
  );
  const results = (await Promise.all(calls)).flat();
  assert.ok(results.every((result) => result.kind === "accepted"));
  const seqs = Map.groupBy(results as (AcceptResult & { kind: "accepted" })[], (result) => result.messageId);
  for (const [, same] of seqs) assert.equal(new Set(same.map((result) => result.seq)).size, 1);
  const { rows } = await line.pool.query<{ seq: number }>("SELECT seq FROM messages ORDER BY seq");
  assert.deepEqual(
    rows.map((row) => row.seq),
    rows.map((_, index) => index + 1),
  );
});

test("a known id: the same body gets the same response, another one a conflict, also within one batch", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const first = messageTo(line, chat, "oi");
  const changed = { ...first, ...bodyOf(chat, "olá") };
  const [accepted] = await line.acceptor.accept([first]);
  const results = await line.acceptor.accept([first, changed, messageTo(line, chat, "next")]);
  assert.deepEqual(results.map(resultFor), ["1 again", "IDEMPOTENCY_CONFLICT", "2"]);
  const turned = await line.acceptor.accept([changed, first]);
  assert.deepEqual(turned.map(resultFor), ["IDEMPOTENCY_CONFLICT", "1 again"]);
  assert.deepEqual((results[0] as { createdAt: Date }).createdAt, (accepted as { createdAt: Date }).createdAt);

  const fresh = messageTo(line, chat, "third");
  const batch = [fresh, { ...fresh }, { ...fresh, ...bodyOf(chat, "other") }];
  assert.deepEqual((await line.acceptor.accept(batch)).map(resultFor), ["3", "3 again", "IDEMPOTENCY_CONFLICT"]);
  assert.deepEqual(await storedTexts(line), ["oi", "next", "third"]);
});

test("a repeated message gets the same response, even if it would be refused now", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const message = messageTo(line, chat, "oi");
  await line.acceptor.accept([message]);
  await run(line.pool, "DELETE FROM addresses");
  assert.deepEqual((await line.acceptor.accept([message])).map(resultFor), ["1 again"]);
});

test("refused messages get their errors, and do not affect the others", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const elsewhere = await line.addConversation(await line.addPerson("bia"));
  const unreachable = await line.addConversation(await line.addContactWithoutAddress());
  const good = messageTo(line, chat, "good");
  const other = messageTo(line, elsewhere, "other");
  await line.acceptor.accept([other]);
  const cases: [NewMessage, string][] = [
    [good, "1"],
    [messageTo(line, newId(Date.now()), "x"), "RESOURCE_NOT_FOUND"],
    [{ ...messageTo(line, chat, "x"), workspaceId: randomUUID() }, "RESOURCE_NOT_FOUND"],
    [{ ...messageTo(line, chat, "x"), senderId: randomUUID(), mustBeMember: true }, "RESOURCE_NOT_FOUND"],
    [{ ...messageTo(line, chat, "x"), replyTo: newId(Date.now()) }, "VALIDATION_ERROR"],
    [{ ...messageTo(line, chat, "x"), replyTo: other.messageId }, "VALIDATION_ERROR"],
    [{ ...messageTo(line, chat, "x"), reactsTo: other.messageId }, "VALIDATION_ERROR"],
    [{ ...messageTo(line, chat, "answer"), replyTo: good.messageId }, "2"],
    [{ ...messageTo(line, chat, "x"), channels: "fax" }, "NO_ROUTE"],
    [{ ...messageTo(line, chat, "both"), channels: "fax,phone" }, "3"],
    [{ ...messageTo(line, chat, "all"), channels: "*" }, "4"],
    [messageTo(line, unreachable, "x"), "NO_ROUTE"],
    [{ ...messageTo(line, unreachable, "oi"), direction: "inbound" }, "1"],
    [messageTo(line, chat, "last"), "5"],
  ];
  const results = await line.acceptor.accept(cases.map(([message]) => message));
  assert.deepEqual(
    results.map(resultFor),
    cases.map(([, wanted]) => wanted),
  );
});

test("without a connected account no recipient is reached; a deleted or disabled account is not connected", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  await run(line.pool, "UPDATE channel_accounts SET status = 'needs_attention'");
  assert.deepEqual((await line.acceptor.accept([messageTo(line, chat, "it waits")])).map(resultFor), ["1"]);
  for (const change of ["status = 'disabled'", "status = 'active', deleted_at = now()"]) {
    await run(line.pool, `UPDATE channel_accounts SET ${change}`);
    assert.deepEqual((await line.acceptor.accept([messageTo(line, chat, "x")])).map(resultFor), ["NO_ROUTE"]);
  }
});

// One message that PostgreSQL cannot take must not fail the hundreds that share its commit.
test("one message among 100 that the database rejects fails alone", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const messages = Array.from({ length: 100 }, (_, index) => messageTo(line, chat, `${index}`));
  messages[41] = { ...messages[41]!, payload: '{"type":"text","text":"\\u0000"}' };
  const results = (await line.acceptor.accept(messages)).map(resultFor);
  assert.equal(results[41], "INTERNAL");
  assert.deepEqual(
    results.filter((_, index) => index !== 41),
    Array.from({ length: 99 }, (_, index) => `${index + 1}`),
  );
});

test("while the database is unavailable, accept fails with OVERLOADED within a bound and stores nothing", async () => {
  await using line = await startPipeline({ delivers: false });
  const log = { info() {}, warn() {}, error() {} };
  const away = openPool({ url: "postgres://nobody@127.0.0.1:1/none", size: 1, applicationName: "test", log });
  // A hundred times as fast as the real one.
  const clock = {
    now: systemClock.now,
    elapsed: () => performance.now() * 100,
    after: (ms: number, call: () => void) => systemClock.after(ms / 100, call),
  };
  const acceptor = new Acceptor({
    dbOf: () => away,
    bus: line.bus,
    eventNotifier: line.deps.eventNotifier,
    clock,
    batchSize: 10,
    queueSize: 10,
    maxWaitMs: 1_000,
  });
  await assert.rejects(acceptor.accept([messageTo(line, newId(Date.now()), "x")]), {
    code: "OVERLOADED",
    retryAfterSeconds: 1,
  });
  await away.end();
});

test("while the messages of one workspace cannot be stored, those of another are accepted", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const log = { info() {}, warn() {}, error() {} };
  const away = openPool({ url: "postgres://nobody@127.0.0.1:1/none", size: 1, applicationName: "test", log });
  const other = randomUUID();
  const acceptor = openSecond(line, (id) => (id === other ? away : line.databases.acceptDbOf(id)));
  const elsewhere = [1, 2].map(() => ({ ...messageTo(line, chat, "x"), workspaceId: other }));
  // In one turn of the event loop, so that they share a run.
  const results = await Promise.allSettled([acceptor.accept(elsewhere), acceptor.accept([messageTo(line, chat, "y")])]);
  assert.equal(results[0].status === "rejected" && results[0].reason.code, "OVERLOADED");
  assert.deepEqual(results[1].status === "fulfilled" && results[1].value.map(resultFor), ["1"]);
  await away.end();
});

test("connections that break during commits lose no response: each message is stored once", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const sending = Array.from({ length: 300 }, async (_, index) => {
    for (let i = 0; i < index; i += 1) await new Promise(setImmediate);
    return line.say(chat, `${index}`);
  });
  for (let cut = 0; cut < 10; cut += 1) {
    await line.admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chat4all accept' AND datname = current_database()",
    );
  }
  const results = await Promise.all(sending);
  assert.deepEqual(
    results.map((one) => one.seq).toSorted((a, b) => a - b),
    results.map((_, index) => index + 1),
  );
  assert.equal((await storedTexts(line)).length, 300);
});

function openSecond(
  line: Pipeline,
  dbOf: ConstructorParameters<typeof Acceptor>[0]["dbOf"] = line.databases.acceptDbOf,
) {
  return new Acceptor({
    ...line.deps,
    dbOf,
    batchSize: 500,
    queueSize: 10_000,
    maxWaitMs: 1_000,
  });
}

function messageTo(line: Pipeline, conversationId: ConversationId, text: string): NewMessage {
  return {
    workspaceId: line.workspaceId,
    messageId: newId(Date.now()),
    senderId: line.workspaceId,
    mustBeMember: false,
    direction: "outbound",
    channels: null,
    options: null,
    to: null,
    replyTo: null,
    reactsTo: null,
    metadata: null,
    origin: null,
    ...bodyOf(conversationId, text),
  };
}

function bodyOf(conversationId: ConversationId, text: string) {
  return { conversationId, payload: canonicalJson({ type: "text", text })! };
}

function resultFor(accepted: AcceptResult): string {
  if (accepted.kind === "refused") return accepted.error.code;
  return `${accepted.seq}${accepted.isReplayed ? " again" : ""}`;
}

async function storedTexts(line: Pipeline): Promise<string[]> {
  const rows = await all<{ text: string }>(
    line.pool,
    "SELECT payload ->> 'text' AS text FROM messages ORDER BY conversation_id, seq",
  );
  return rows.map((row) => row.text);
}
