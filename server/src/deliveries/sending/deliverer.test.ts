import assert from "node:assert/strict";
import { test } from "node:test";
import { systemOf } from "../../audit/audit.ts";
import type { SendOutcome } from "../../connectors/connector.ts";
import { replayDeadLetter } from "../../dead-letters/dead-letters.ts";
import { run } from "../../lib/query.ts";
import { patient } from "../../testing/patience.ts";
import { type Pipeline, startPipeline, takesAll } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";

test("messages reach the platform in the order of the conversation", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  for (let i = 1; i <= 20; i += 1) await line.say(chat, `${i}`);
  await line.settled();
  assert.deepEqual(
    line.texts("ana"),
    Array.from({ length: 20 }, (_, i) => `${i + 1}`),
  );
});

// Two routers, or a router and a replay, may commit in another order than the one in which they took their places.
test("a delivery that becomes visible after a later one of its lane is also sent", async () => {
  await using line = await startPipeline({ delivers: false });
  const ana = await line.addPerson("ana");
  const first = await line.say(await line.addConversation(ana), "first");
  const second = await line.say(await line.addConversation(ana), "second");
  await until("the message is routed", async () => (await line.deliveriesOf(second.messageId)).length === 1);
  const late = await line.deliveryOf(first.messageId);
  await run(line.pool, "UPDATE deliveries SET is_pending = false WHERE delivery_id = $1", [late.delivery_id]);
  line.deliver();
  await until("the second message is sent", () => line.sent.length === 1);

  await line.say(await line.addConversation(ana), "third");
  await line.settled();
  let release = () => {};
  const isHeld = new Promise<void>((resolve) => (release = resolve));
  line.platform.answer = async () => {
    await isHeld;
    return { kind: "sent", providerMessageId: "held" };
  };
  await line.say(await line.addConversation(ana), "fourth");
  await until("the fourth message is sent", () => line.sent.length === 3);
  await run(line.pool, "UPDATE deliveries SET is_pending = true WHERE delivery_id = $1", [late.delivery_id]);
  const record = { deliveryId: late.delivery_id, accountId: line.accountId, ordinal: late.ordinal };
  await line.announce(record, late.lane_id!);
  await until("the record is taken", async () => (await line.bus.lag("phone_outgoing", "deliver")) === 0);
  release();

  await line.settled();
  assert.deepEqual(line.texts("ana"), ["second", "third", "fourth", "first"]);
});

test("a replayed dead letter that a receipt had failed is sent again", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.settled();
  const { delivery_id, provider_message_ids } = await line.deliveryOf(messageId);
  await line.receipt(provider_message_ids![0]!, "failed");
  assert.equal((await line.deliveryOf(messageId)).status, "failed");

  await replayDeadLetter(line.deps, systemOf(line.workspaceId), delivery_id);
  await line.settled();

  assert.deepEqual(line.texts(), ["oi", "oi"]);
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
});

test("receipts of an earlier sending have no effect on a replay", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.settled();
  const { delivery_id, provider_message_ids } = await line.deliveryOf(messageId);
  await line.receipt(provider_message_ids![0]!, "failed");
  line.platform.answer = () => ({ kind: "retry", afterMs: 300, scope: "lane", platformFault: true, detail: "down" });
  await replayDeadLetter(line.deps, systemOf(line.workspaceId), delivery_id);
  await until("the message is sent again", () => line.sent.length === 2);

  await line.receipt(provider_message_ids![0]!, "failed", { deliveryId: delivery_id });
  await line.receipt(provider_message_ids![0]!, "sent", { deliveryId: delivery_id });
  assert.equal((await line.deliveryOf(messageId)).status, "in_transit");

  line.platform.answer = () => ({ kind: "sent", providerMessageId: "again" });
  await line.settled();
  await line.receipt("again", "read");
  assert.equal((await line.deliveryOf(messageId)).status, "read");
});

test("a replayed text in parts continues with the part that failed", async () => {
  const ids = Array.from({ length: 5 }, (_, index) => `part-${index + 1}`);
  await using line = await startPipeline({
    capabilities: { maxTextLength: 4 },
    platform: () => ({ kind: "sent", providerMessageId: ids.shift()! }),
  });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "abcdefghijkl");
  await line.settled();
  await line.receipt("part-1", "delivered");
  await line.receipt("part-2", "failed");
  const { delivery_id, status } = await line.deliveryOf(messageId);
  assert.equal(status, "failed");

  await replayDeadLetter(line.deps, systemOf(line.workspaceId), delivery_id);
  await line.settled();
  assert.deepEqual(line.texts(), ["abcd", "efgh", "ijkl", "efgh", "ijkl"]);
  for (const id of ["part-4", "part-5"]) await line.receipt(id, "delivered");
  assert.equal((await line.deliveryOf(messageId)).status, "delivered");
});

test("a lane that changes hands during an attempt waits as long as the platform asked for", async () => {
  // Long enough that the new owner does not try again before the response comes, however slow the machine is.
  const timeoutMs = patient(5_000);
  await using line = await startPipeline({ leaseMs: 800, isOnlyProcess: false, timeoutMs });
  const person = personOf(line, 3);
  const chat = await line.addConversation(await line.addPerson(person));
  const answer = Promise.withResolvers<SendOutcome>();
  line.platform.answer = () => answer.promise;
  const { messageId } = await line.say(chat, "oi");
  await until("the message is sent", () => line.sent.length === 1);

  await using other = await line.openBus();
  const second = line.deliver(other);
  await until(
    "another process takes the attempt over",
    async () => (await line.deliveryOf(messageId)).attempt_started_at === null,
  );
  line.platform.answer = takesAll;
  answer.resolve({ kind: "retry", afterMs: 2_500, scope: "lane", platformFault: false, detail: "slow down" });
  const answeredAt = performance.now();
  await line.settled();
  assert.ok(performance.now() - answeredAt >= 2_400, "the platform was asked too early");
  assert.equal(line.sent.length, 2);
  await second.close();
});

// The database was away for longer than the lease, the platform was slow: the same process takes its own lanes over.
test("a process that gets its lanes back does not repeat its own attempt under way", async () => {
  await using line = await startPipeline({ leaseMs: 800, isOnlyProcess: true });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const answer = Promise.withResolvers<SendOutcome>();
  line.platform.answer = () => answer.promise;
  const { messageId } = await line.say(chat, "oi");
  await line.say(chat, "tudo bem?");
  await until("the message is sent", () => line.sent.length === 1);

  await run(line.pool, "UPDATE bus_cursors SET epoch = epoch + 1");
  await until(
    "another process takes the attempt over",
    async () => (await line.deliveryOf(messageId)).attempt_started_at === null,
  );
  assert.equal(line.sent.length, 1);
  line.platform.answer = takesAll;
  answer.resolve({ kind: "sent", providerMessageId: "slow" });
  await line.settled();
  assert.deepEqual(line.texts(), ["oi", "tudo bem?"]);
});

/** Somebody whose lane is in this partition. */
function personOf(line: Pipeline, partition: number): string {
  for (let i = 0; ; i += 1) {
    if (line.bus.partitionOf(line.laneOf(`person ${i}`)) === partition) return `person ${i}`;
  }
}

// Operators would switch off an alarm that fires for every rate limit and every open breaker.
test("a lane whose attempt never ends counts as waiting work, one behind a rate limit does not", async () => {
  await using line = await startPipeline({ delivers: false, capabilities: { ratePerSecond: 0.01 } });
  const deliverer = line.deliver();
  const [ana, bia] = [await line.addPerson("ana"), await line.addPerson("bia")];
  const [first, second] = [await line.addConversation(ana), await line.addConversation(bia)];
  const gate = Promise.withResolvers<SendOutcome>();
  line.platform.answer = () => gate.promise;
  await line.say(first, "gets no response");
  await until("the message is sent", () => line.sent.length === 1);
  const [hanging] = deliverer.places();
  assert.deepEqual([hanging!.key, hanging!.waiting], [line.accountId, 1]);
  gate.resolve({ kind: "sent", providerMessageId: "late" });
  await until("the attempt ends", () => deliverer.places().length === 0);
  await line.say(second, "waits for the rate limit");
  const isTaken = async () => (await line.bus.lag("phone_outgoing", "deliver")) === 0;
  await line.routed();
  await until("the record is taken", isTaken);
  assert.deepEqual([line.sent.length, deliverer.places()], [1, []]);
});

// Each lane would run into the limit by itself, and such requests may prolong it.
test("after a 429 for the whole account without a wait, no lane sends until the account's pause is over", async () => {
  await using line = await startPipeline({ delivers: false });
  const deliverer = line.deliver();
  const people = await Promise.all(["ana", "bruno", "carla"].map((name) => line.addPerson(name)));
  const [first, ...others] = await Promise.all(people.map((person) => line.addConversation(person)));
  const sentAt: number[] = [];
  line.platform.answer = (part) => {
    sentAt.push(performance.now());
    if (sentAt.length > 1) return takesAll(part);
    return { kind: "retry", afterMs: null, scope: "account", platformFault: false, detail: "429" };
  };
  await line.say(first!, "1");
  await until("the platform returned 429", () => deliverer.health(line.accountId)?.lastError?.detail === "429");
  for (const chat of others) await line.say(chat, "2");
  await line.settled();
  assert.equal(sentAt.length, 4);
  assert.ok(sentAt[1]! - sentAt[0]! >= 950, `the next request came after ${sentAt[1]! - sentAt[0]!} ms`);
});
