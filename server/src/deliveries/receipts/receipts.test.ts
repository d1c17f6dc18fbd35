import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { newId } from "../../lib/ids.ts";
import { one } from "../../lib/query.ts";
import { type Pipeline, startPipeline } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";
import { watchedDb } from "../../testing/watched-db.ts";
import { type FinishedAttempt, finishAttempts } from "../sending/finish-attempts.ts";
import { applyMissedReceipts, applyReceipts, type Receipt } from "./receipts.ts";

type Word = Receipt["status"];
const words: readonly Word[] = ["sent", "delivered", "read", "failed"];
const order = ["sent", "failed", "delivered", "read"];

/** In any order, and repeated: the furthest word counts, and only delivered and read overrule failed. */
function furthest(reported: readonly string[]): string {
  return order[Math.max(0, ...reported.map((word) => order.indexOf(word)))]!;
}

const rungs = ["accepted", "in_transit", "sent", "delivered", "read"];

test("receipts in any order, late, repeated and in any batches lead to the same status, and never move it back", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const anyWords = fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 7 });
  const cut = fc.array(fc.boolean(), { minLength: 7, maxLength: 7 });
  await fc.assert(
    fc.asyncProperty(anyWords, cut, async (reported, cuts) => {
      const { messageId } = await sentBy(line, chat);
      const { provider_message_ids, delivery_id } = await line.deliveryOf(messageId);
      const seen: string[] = [];
      let batch: Receipt[] = [];
      for (const [index, status] of reported.entries()) {
        const deliveryId = index % 2 === 0 ? null : delivery_id;
        batch.push(receiptOf(line, provider_message_ids![0]!, status, { deliveryId }));
        if (cuts[index] && index < reported.length - 1) continue;
        await line.receipts(batch);
        batch = [];
        seen.push((await line.deliveryOf(messageId)).status);
      }
      const delivery = await line.deliveryOf(messageId);
      assert.equal(delivery.status, furthest(reported), `after ${reported.join(", ")}`);
      assert.deepEqual(seen.toSorted(byOrder), seen, "it moved back");
      assert.equal(delivery.is_pending, false);
      assert.equal(delivery.is_dead_letter, delivery.status === "failed");
      assert.equal(delivery.error === null, delivery.status !== "failed");
      assertTrail(delivery);
    }),
    { numRuns: 60 },
  );
});

test("a text in parts has the lowest status of its parts", async () => {
  const parts = 3;
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const reported = fc.array(fc.tuple(fc.nat(parts - 1), fc.constantFrom<Word>("sent", "delivered", "read")), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(reported, async (receipts) => {
      const { messageId } = await sentBy(line, chat, "abcdefghijkl");
      const { provider_message_ids: ids } = await line.deliveryOf(messageId);
      assert.equal(ids!.length, parts);
      for (const [part, status] of receipts) {
        await line.receipts([receiptOf(line, ids![part]!, status, { webhookId: newId(Date.now()) })]);
      }
      const each = ids!.map((_, part) => furthest(receipts.filter(([of]) => of === part).map(([, status]) => status)));
      const least = order[Math.min(...each.map((status) => order.indexOf(status)))];
      const delivery = await line.deliveryOf(messageId);
      assert.equal(delivery.status, least);
      assertTrail(delivery);
    }),
    { numRuns: 25 },
  );
});

test("a text in parts has failed when one part has", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await sentBy(line, chat, "abcdefgh");
  const { provider_message_ids: ids } = await line.deliveryOf(messageId);
  await line.receipts([receiptOf(line, ids![0]!, "delivered"), receiptOf(line, ids![1]!, "failed")]);
  const delivery = await line.deliveryOf(messageId);
  assert.deepEqual(
    [delivery.status, delivery.is_dead_letter, delivery.error?.code],
    ["failed", true, "PLATFORM_REFUSED"],
  );
});

test("a receipt of a part that arrives while further parts are sent is applied after the response", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = async ({ deliveryId, partIndex }) => {
    if (partIndex > 0) await line.receipts([receiptOf(line, `part ${partIndex - 1}`, "delivered", { deliveryId })]);
    return { kind: "sent", providerMessageId: `part ${partIndex}` };
  };
  const { messageId } = await sentBy(line, chat, "abcdefghijkl");
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
  await line.receipts([receiptOf(line, "part 2", "read")]);
  await until("it is delivered", async () => (await line.deliveryOf(messageId)).status === "delivered");
  await until("no receipt waits", async () => (await countEarly(line)) === 0);
});

test("a receipt that overtakes the response to our request is applied after the response", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = async () => {
    await line.receipts([receiptOf(line, "early", "delivered")]);
    return { kind: "sent", providerMessageId: "early" };
  };
  const { messageId } = await sentBy(line, chat);
  await until("the early receipt is applied", async () => (await line.deliveryOf(messageId)).status === "delivered");
  await until("it no longer waits", async () => (await countEarly(line)) === 0);
});

test("maintenance applies a receipt that raced with the response", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = () => ({ kind: "sent", providerMessageId: "missed" });
  const { messageId } = await sentBy(line, chat);
  await line.pool.query(
    `INSERT INTO early_receipts (channel_account_id, provider_message_id, status, receipt, received_at)
     VALUES ($1, 'missed', 'read', $2, now())`,
    [line.accountId, JSON.stringify(receiptOf(line, "missed", "read"))],
  );
  await applyMissedReceipts(line.deps);
  assert.equal((await line.deliveryOf(messageId)).status, "read");
  assert.equal(await countEarly(line), 0);
});

test("a receipt that waits for the response outlasts a passing error of the database", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = async () => {
    await line.receipts([receiptOf(line, "early", "delivered")]);
    return { kind: "sent", providerMessageId: "early" };
  };
  await line.admin.query(`
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'full' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER fail BEFORE UPDATE ON deliveries FOR EACH ROW WHEN (NEW.status = 'delivered') EXECUTE FUNCTION fail()`);
  const { messageId } = await sentBy(line, chat);
  await until("the receipt cannot be applied", () => line.troubles.list().some(({ code }) => code === "53100"));
  await assert.rejects(applyMissedReceipts(line.deps), { code: "53100" });
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
  // Dropping the trigger could deadlock with an update.
  await line.admin.query(
    "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
  );
  await until("it is applied", async () => (await line.deliveryOf(messageId)).status === "delivered");
  await until("it no longer waits", async () => (await countEarly(line)) === 0);
});

test("the receipt of an attempt without a response settles it: nothing is sent again", async () => {
  await using line = await startPipeline({
    capabilities: { afterUnknown: "receipt" },
    policy: { unknownGraceMs: 30_000 },
  });
  const chat = await line.addConversation(await line.addPerson("ana"));
  line.platform.answer = () => ({ kind: "unknown", detail: "no response" });
  const { messageId } = await line.say(chat, "oi");
  await until("the delivery is tried", async () => (await line.deliveriesOf(messageId))[0]?.error?.code === "UNKNOWN");
  const { delivery_id } = await line.deliveryOf(messageId);
  line.platform.answer = () => ({ kind: "sent", providerMessageId: "second" });
  await line.say(chat, "next");
  await line.receipts([receiptOf(line, "first", "delivered", { deliveryId: delivery_id })]);
  await line.settled();
  const delivery = await line.deliveryOf(messageId);
  assert.deepEqual([delivery.status, delivery.provider_message_ids, delivery.attempts], ["delivered", ["first"], 1]);
  assert.deepEqual(line.texts(), ["oi", "next"]);
});

// A process that was suspended during its attempt continues after another one has sent the message again. Once the later
// response replaced the platform's id, and the receipts of neither copy counted.
test("of a message that was sent twice, responses and receipts of both copies in any order lead to its last status", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  for (const steps of permutations(["response 1", "response 2", "receipt 1", "receipt 2"])) {
    const { messageId } = await line.say(chat, steps.join(", "));
    await line.routed();
    const { delivery_id: deliveryId } = await line.deliveryOf(messageId);
    await line.admin.query(
      `BEGIN; SET LOCAL session_replication_role = replica;
       UPDATE deliveries SET attempts = 2, attempt_started_at = now(), status = 'in_transit' WHERE delivery_id = '${deliveryId}';
       COMMIT`,
    );
    for (const step of steps) {
      const copy = Number(step.at(-1));
      const id = `${messageId} ${copy}`;
      if (step.startsWith("receipt")) await line.receipts([receiptOf(line, id, "read", { deliveryId })]);
      else
        await finishAttempts(
          line.databases.pipelineDb,
          [sentAs(line, id, copy, { deliveryId, messageId })],
          newId(Date.now()),
        );
    }
    const { status, is_pending } = await line.deliveryOf(messageId);
    assert.deepEqual([status, is_pending], ["read", false], steps.join(", "));
  }
});

test("receipts for what we never sent, or on another account, change nothing", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await sentBy(line, chat);
  const { delivery_id, provider_message_ids: ids } = await line.deliveryOf(messageId);
  const other = "00000000-0000-7000-8000-00000000beef";
  await line.receipts([
    receiptOf(line, "foreign", "read"),
    receiptOf(line, ids![0]!, "read", { channelAccountId: other }),
    receiptOf(line, ids![0]!, "read", { channelAccountId: other, deliveryId: delivery_id }),
    receiptOf(line, "foreign", "read", { deliveryId: other }),
  ]);
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
});

// Anyone who connects an account may sign a webhook that names deliveries of others.
test("receipts of two accounts for one delivery and one id count for their own account only", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const other = { channelAccountId: "00000000-0000-7000-8000-00000000beef" };
  const orders = permutations(["ours", "theirs"]);
  for (const places of orders) {
    const { messageId } = await sentBy(line, chat);
    const { delivery_id: deliveryId, provider_message_ids: ids } = await line.deliveryOf(messageId);
    const ours = receiptOf(line, ids![0]!, "delivered", { deliveryId, webhookId: newId(Date.now()) });
    const theirs = receiptOf(line, ids![0]!, "read", { deliveryId, webhookId: newId(Date.now()), ...other });
    await line.receipts(places.map((whose) => (whose === "ours" ? ours : theirs)));
    assert.equal((await line.deliveryOf(messageId)).status, "delivered", places.join());
  }
});

test("thousands of ids for one delivery take a few statements", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await sentBy(line, chat, "abcdefghijkl");
  const { delivery_id: deliveryId, provider_message_ids: ids } = await line.deliveryOf(messageId);
  const invented = Array.from({ length: 2_000 }, (_, number) => `invented ${number}`);
  let statements = 0;
  const db = watchedDb(line.deps.db, () => {
    statements += 1;
  });
  await applyReceipts(
    { ...line.deps, db },
    [...invented, ...ids!].map((id) => receiptOf(line, id, "delivered", { deliveryId })),
  );
  assert.equal((await line.deliveryOf(messageId)).status, "delivered");
  assert.ok(statements < 20, `${statements} statements`);
});

test("a receipt that names a text in parts, with the id of another message, ends", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 4 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const first = await sentBy(line, chat, "abc");
  const { provider_message_ids: ids } = await line.deliveryOf(first.messageId);
  line.platform.answer = async ({ deliveryId, partIndex }) => {
    if (partIndex > 0) await line.receipts([receiptOf(line, ids![0]!, "delivered", { deliveryId })]);
    return { kind: "sent", providerMessageId: `part ${partIndex}` };
  };
  const { messageId } = await sentBy(line, chat, "abcdefgh");
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
  assert.equal((await line.deliveryOf(first.messageId)).status, "delivered");
});

/** The audit trail ends with the status, has each change once, and does not move back. */
function assertTrail({ status, history }: Awaited<ReturnType<Pipeline["deliveryOf"]>>): void {
  const trail = history.map((entry) => entry.status);
  assert.equal(trail.at(-1), status, "the audit trail ends elsewhere");
  assert.deepEqual([...new Set(trail)], trail, "the history has a change twice");
  const climbed = trail.filter((one) => one !== "failed").map((one) => rungs.indexOf(one));
  assert.deepEqual(climbed.toSorted(), climbed, "the audit trail moves back");
}

async function sentBy(line: Pipeline, chat: string, text = "oi") {
  const accepted = await line.say(chat, text);
  await line.settled();
  return accepted;
}

function receiptOf(line: Pipeline, providerMessageId: string, status: Word, more: Partial<Receipt> = {}): Receipt {
  return {
    channelAccountId: line.accountId,
    providerMessageId,
    deliveryId: null,
    status,
    error: status === "failed" ? { code: "PLATFORM_REFUSED", message: "no" } : null,
    at: new Date(1_760_000_000_000),
    webhookId: null,
    ...more,
  };
}

function byOrder(a: string, b: string): number {
  return order.indexOf(a) - order.indexOf(b);
}

async function countEarly(line: Pipeline): Promise<number> {
  return (await one<{ count: number }>(line.pool, "SELECT count(*) FROM early_receipts")).count;
}

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}

function sentAs(
  line: Pipeline,
  providerMessageId: string,
  attempt: number,
  ids: Pick<FinishedAttempt, "deliveryId" | "messageId">,
): FinishedAttempt {
  const at = new Date();
  return {
    ...ids,
    workspaceId: line.workspaceId,
    channelAccountId: line.accountId,
    attempt,
    startedAt: at,
    finishedAt: at,
    outcome: "sent",
    exchanges: [],
    sentParts: [providerMessageId],
    partCount: 1,
    error: null,
    isFinal: true,
    retryAfterMs: null,
  };
}
