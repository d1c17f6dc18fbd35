import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { recordAuditEvent, systemOf } from "../audit/audit.ts";
import { transaction } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";
import { startPipeline, takesAll } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import {
  deadLetterId,
  discardDeadLetter,
  listDeadLetters,
  replayDeadLetter,
  replayDeadLetters,
} from "./dead-letters.ts";

async function open() {
  const line = await startPipeline({
    platform: () => ({ kind: "refused", reason: "WINDOW_CLOSED", detail: "too late" }),
  });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const fail = async (text: string) => {
    const { messageId } = await line.say(chat, text);
    await line.settled();
    return line.deliveryOf(messageId);
  };
  const list = (more: object = {}) => listDeadLetters(line.pool, { workspaceId: line.workspaceId, limit: 50, ...more });
  return { line, chat, fail, list, [Symbol.asyncDispose]: () => line[Symbol.asyncDispose]() };
}

test("a dead letter is replayed once, at the end of its lane", async () => {
  await using letters = await open();
  const { line } = letters;
  const failed = await letters.fail("oi");
  line.platform.answer = takesAll;
  await line.say(letters.chat, "later");
  await line.settled();
  const replays = Array.from({ length: 5 }, () =>
    replayDeadLetter(line.deps, systemOf(line.workspaceId), failed.delivery_id),
  );
  const ends = await Promise.allSettled(replays);
  assert.equal(ends.filter((end) => end.status === "fulfilled").length, 1);
  for (const end of ends) if (end.status === "rejected") assert.equal(end.reason.code, "RESOURCE_NOT_FOUND");
  await line.settled();
  assert.deepEqual(line.texts(), ["oi", "later", "oi"]);
  const delivery = await line.deliveryOf(failed.message_id);
  assert.deepEqual([delivery.status, delivery.error, delivery.attempts], ["sent", null, 2]);
  assert.deepEqual(
    delivery.history.map(({ status }) => status),
    ["accepted", "in_transit", "failed", "in_transit", "sent"],
  );
  assert.deepEqual(await letters.list(), []);
});

test("dead letters are listed newest first, page by page, by channel and code", async () => {
  await using letters = await open();
  const failed = [];
  for (const text of ["1", "2", "3", "4", "5"]) failed.push((await letters.fail(text)).delivery_id);
  const first = await letters.list({ limit: 3 });
  const last = first.at(-1)!;
  const second = await letters.list({ limit: 3, after: { at: last.failed_at, id: deadLetterId(last) } });
  assert.deepEqual([...first, ...second].map(deadLetterId), failed.toReversed());
  assert.equal((await letters.list({ code: "WINDOW_CLOSED", channel: "phone" })).length, 5);
  assert.equal((await letters.list({ code: "OTHER" })).length, 0);
  assert.equal((await letters.list({ channel: "chat" })).length, 0);
  assert.equal((await letters.list({ workspaceId: randomUUID() })).length, 0);
});

test("all of a code are replayed oldest first; one that was discarded stays failed", async () => {
  await using letters = await open();
  const { line } = letters;
  const failed = [];
  for (const text of ["1", "2", "3"]) failed.push(await letters.fail(text));
  await discardDeadLetter(line.pool, systemOf(line.workspaceId), failed[1]!.delivery_id);
  await assert.rejects(discardDeadLetter(line.pool, systemOf(line.workspaceId), failed[1]!.delivery_id), {
    code: "RESOURCE_NOT_FOUND",
  });
  line.platform.answer = takesAll;
  assert.equal(await replayDeadLetters(line.deps, systemOf(line.workspaceId), { code: "OTHER" }), 0);
  assert.equal(await replayDeadLetters(line.deps, systemOf(line.workspaceId), { code: "WINDOW_CLOSED" }), 2);
  await line.settled();
  assert.deepEqual(line.texts().slice(3), ["1", "3"]);
  assert.equal((await line.deliveryOf(failed[1]!.message_id)).status, "failed");
});

test("nothing of another workspace is replayed or discarded", async () => {
  await using letters = await open();
  const { line } = letters;
  const { delivery_id } = await letters.fail("oi");
  const other = randomUUID();
  await assert.rejects(replayDeadLetter(line.deps, systemOf(other), delivery_id), { code: "RESOURCE_NOT_FOUND" });
  await assert.rejects(discardDeadLetter(line.pool, systemOf(other), delivery_id), { code: "RESOURCE_NOT_FOUND" });
  assert.equal(await replayDeadLetters(line.deps, systemOf(other), {}), 0);
});

test("a replay does not deadlock with a change of the conversation", async () => {
  await using letters = await open();
  const { line, chat } = letters;
  const { delivery_id } = await letters.fail("oi");
  const by = systemOf(line.workspaceId);
  const waiting =
    "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
  let replay: Promise<void> | undefined;
  await transaction(line.pool, async (tx) => {
    await run(tx, "UPDATE conversations SET title = 'A' WHERE conversation_id = $1", [chat]);
    await recordAuditEvent(tx, by, { action: "conversation.changed" });
    replay = replayDeadLetter(line.deps, by, delivery_id);
    replay.catch(() => {});
    await until(
      "a statement waits for the lock",
      async () => (await one<{ count: number }>(line.pool, waiting)).count > 0,
    );
  });
  await replay;
});
