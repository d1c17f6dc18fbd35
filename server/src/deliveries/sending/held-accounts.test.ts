import assert from "node:assert/strict";
import { test } from "node:test";
import type { SendOutcome } from "../../connectors/connector.ts";
import { systemClock } from "../../lib/clock.ts";
import { showMessages } from "../../messages/messages.ts";
import { type Pipeline, startPipeline, takesAll } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";
import { breakerThreshold } from "./breaker.ts";

const revoked: SendOutcome = { kind: "account_refused", reason: "CREDENTIALS_INVALID", detail: "401: Unauthorized" };
const unavailable: SendOutcome = {
  kind: "retry",
  afterMs: null,
  scope: "lane",
  platformFault: true,
  detail: "503: Service Unavailable",
};

/** As an admin does by setting new credentials. */
function repair({ account }: Pipeline): void {
  account.status = "active";
  account.statusFromMs = systemClock.elapsed();
  account.version += 1;
}

const isRefused = ({ account }: Pipeline) =>
  until("the account needs attention", () => account.status === "needs_attention");

test("a refused account stops all of its lanes, and every message keeps its turn", async () => {
  await using line = await startPipeline({ platform: () => revoked, concurrency: 2 });
  const chats = [];
  for (const name of ["ana", "bea", "caio", "dora"]) chats.push(await line.addConversation(await line.addPerson(name)));
  const said = [];
  for (const text of ["1", "2"]) for (const chat of chats) said.push(await line.say(chat, text));
  await line.routed();
  await isRefused(line);
  // The attempts that were under way at that moment, and no later ones.
  const [deliverer] = line.deliverers;
  await until("the attempts end", () => deliverer!.health(line.accountId)?.inFlight === 0);
  assert.ok(line.sent.length <= 2, `${line.sent.length} calls`);
  const held = (await Promise.all(said.map(({ messageId }) => line.deliveryOf(messageId)))).filter(
    ({ attempts }) => attempts === 0,
  );
  assert.ok(held.length >= 6);
  assert.ok(held.every(({ is_pending, status }) => is_pending && status === "accepted"));
  assert.partialDeepStrictEqual(deliverer!.health(line.accountId), { breaker: "closed", parkedLanes: 4 });

  line.platform.answer = takesAll;
  line.sent.length = 0;
  repair(line);
  await line.settled();
  for (const name of ["ana", "bea", "caio", "dora"]) assert.deepEqual(line.texts(name), ["1", "2"]);
});

test("the time in which the account could not send does not count against the retry limit", async () => {
  await using line = await startPipeline({ platform: () => unavailable, policy: { totalMs: 1_000 } });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await until("it is tried", () => line.sent.length > 0);
  line.platform.answer = () => revoked;
  await isRefused(line);
  await line.admin.query("UPDATE deliveries SET retry_from = now() - interval '3 days' WHERE message_id = $1", [
    messageId,
  ]);
  const tries = line.sent.length;
  line.platform.answer = () => (line.sent.length === tries + 1 ? unavailable : takesAll(line.sent[0]!));
  repair(line);
  await line.settled();
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
});

test("a late refusal does not undo a repair", async () => {
  const { promise: isRepaired, resolve } = Promise.withResolvers<void>();
  await using line = await startPipeline({
    platform: async () => {
      await isRepaired;
      return revoked;
    },
  });
  await line.say(await line.addConversation(await line.addPerson("ana")), "oi");
  await until("it is tried", () => line.sent.length === 1);
  repair(line);
  line.platform.answer = takesAll;
  resolve();
  await line.settled();
  assert.equal(line.account.status, "active");
});

test("a platform that fails and then refuses the account leaves no breaker open", async () => {
  await using line = await startPipeline({ platform: () => unavailable });
  const [deliverer] = line.deliverers;
  for (let i = 0; i < breakerThreshold; i += 1) {
    await line.say(await line.addConversation(await line.addPerson(`${i}`)), "oi");
  }
  await until("the breaker opens", () => deliverer!.health(line.accountId)?.breaker === "open");
  line.platform.answer = () => revoked;
  await isRefused(line);
  assert.equal(deliverer!.health(line.accountId)?.breaker, "closed");
  line.platform.answer = takesAll;
  repair(line);
  await line.settled();
});

test("a long text continues with the first part that the platform did not take", async () => {
  await using line = await startPipeline({ capabilities: { maxTextLength: 10 } });
  const parts = ["first-part", "secondpart", "third-part"];
  line.platform.answer = (part) => (part.partIndex === 1 ? revoked : takesAll(part));
  const chat = await line.addConversation(await line.addPerson("ana"));
  await line.say(chat, parts.join(""));
  await isRefused(line);
  line.platform.answer = takesAll;
  repair(line);
  await line.settled();
  assert.deepEqual(line.texts("ana"), [parts[0], parts[1], parts[1], parts[2]]);
});

test("deliveries over a disabled account wait without an attempt until it is enabled", async () => {
  await using line = await startPipeline({ policy: { totalMs: 1 }, delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  const { messageId } = await line.say(chat, "oi");
  await line.routed();
  await line.admin.query("UPDATE channel_accounts SET status = 'disabled'");
  line.account.status = "disabled";
  const deliverer = line.deliver();
  await until("the lane waits", () => deliverer.health(line.accountId)?.parkedLanes === 1);
  const { rows } = await line.admin.query("SELECT * FROM messages WHERE message_id = $1", [messageId]);
  const [shown] = await showMessages(line.pool, line.principal, rows);
  assert.partialDeepStrictEqual(shown, {
    status: "accepted",
    deliveries: [{ attempts: 0, error: { code: "CHANNEL_ACCOUNT_DISABLED" } }],
  });
  repair(line);
  await line.settled();
  assert.deepEqual(line.texts("ana"), ["oi"]);
});
