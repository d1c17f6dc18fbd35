/** An endpoint works as long as the user and API key that made it could make it now. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { transaction } from "../lib/postgres.ts";
import { type Db, one, run } from "../lib/query.ts";
import { startReceiver, startWebhookTest, type WebhookTest } from "../testing/test-webhooks.ts";
import { until } from "../testing/until.ts";
import { endpointsWithoutCreator, findEndpoint } from "./endpoint-rows.ts";
import { changeEndpoint } from "./endpoints.ts";
import { follow } from "./follow.ts";

async function stateOf(hub: WebhookTest, endpointId: string) {
  const { status, disabled_reason } = await findEndpoint(hub.db, hub.key(endpointId));
  return [status, disabled_reason];
}

const lost = ["disabled", "maker_lost_access"];

const endings = {
  "its API key is revoked": "UPDATE api_keys SET revoked_at = now() WHERE created_by = $1",
  "its user is an agent now": "UPDATE users SET role = 'agent' WHERE user_id = $1",
  "its user is disabled": "UPDATE users SET disabled_at = now() WHERE user_id = $1",
  "its user ended what they had made": "UPDATE webhook_endpoints SET is_authorized = false WHERE made_by = $1",
};

for (const [name, end] of Object.entries(endings)) {
  test(`gets nothing more and is disabled when ${name}`, async () => {
    await using hub = await startWebhookTest();
    await using receiver = await startReceiver();
    await using watching = await startReceiver();
    const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
    const other = await hub.addAdmin();
    await hub.connect(watching.url, { events: ["webhook_endpoint.disabled"] }, other);
    const chat = await hub.chat();
    await hub.line.say(chat, "before");
    const engine = hub.start();
    await receiver.has(1);
    await hub.rows(end, [hub.principal.userId]);
    await hub.line.say(chat, "after");
    await until("it is disabled", async () => (await stateOf(hub, id))[0] === "disabled");
    assert.deepEqual(await stateOf(hub, id), lost);
    await watching.has(1);
    assert.deepEqual(watching.got[0]!.data, {
      webhook_endpoint_id: id,
      status: "disabled",
      reason: "maker_lost_access",
    });
    const acts = await hub.rows<{ details: { reason: string } }>(
      "SELECT details FROM audit_log WHERE action = 'webhook_endpoint.disabled'",
    );
    assert.deepEqual(
      acts.map(({ details }) => details.reason),
      ["maker_lost_access"],
    );
    await engine.poll();
    assert.deepEqual(
      receiver.got.map(({ data }) => data.content),
      ["before"],
    );

    const enabled = await changeEndpoint(hub.deps, hub.db, other, id, { status: "enabled" });
    assert.deepEqual(
      [enabled.status, enabled.disabled_reason, enabled.made_by, enabled.made_by_key],
      ["enabled", null, other.userId, null],
    );
    await hub.line.say(chat, "again");
    await receiver.has(2);
    assert.deepEqual(
      receiver.got.map(({ data }) => data.content),
      ["before", "again"],
    );
  });
}

test("gets no event before it is disabled", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
  await hub.line.say(await hub.chat(), "waits");
  await hub.rows("UPDATE api_keys SET revoked_at = now()");
  const engine = hub.start();
  await until("it is disabled", async () => (await stateOf(hub, id))[0] === "disabled");
  await engine.poll();
  assert.deepEqual(receiver.got, []);
});

// Otherwise the receiver would get the later events, and not notice that some are missing.
test("is disabled by the first event that it may not get, even if its user is an admin again right after", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, { events: ["message.accepted"] });
  const chat = await hub.chat();
  const setRole = (role: string) => hub.rows("UPDATE users SET role = $1", [role]);
  await setRole("agent");
  await hub.line.say(chat, "missed");
  while ((await follow(hub.deps, hub.line.workspaceId, new Date())).hasMore);
  await setRole("admin");
  await hub.line.say(chat, "later");
  const engine = hub.start();
  await engine.poll();
  assert.deepEqual(await stateOf(hub, id), lost);
  assert.deepEqual(receiver.got, []);
});

test("ends when the API key expires", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url);
  await hub.rows("UPDATE api_keys SET expires_at = now() + interval '1 hour'");
  const engine = hub.start();
  await engine.poll();
  assert.deepEqual(await stateOf(hub, id), ["enabled", null]);
  hub.passTime(3_600_000);
  await until("it is disabled", async () => (await stateOf(hub, id))[0] === "disabled");
  assert.deepEqual(await stateOf(hub, id), lost);
});

test("has a new creator when its URL or events change, or when it is enabled", async () => {
  await using hub = await startWebhookTest();
  const other = await hub.addAdmin();
  const made = await hub.connect("https://example.com/one", { events: ["message.accepted"] });
  const { userId, callerId } = hub.principal;
  assert.deepEqual([made.made_by, made.made_by_key], [userId, callerId]);
  const by = (changes: Parameters<typeof changeEndpoint>[4]) =>
    changeEndpoint(hub.deps, hub.db, other, made.webhook_endpoint_id, changes);
  const same = { url: made.url, events: made.events, description: "Other words", isOrdered: true };
  assert.deepEqual((await by(same)).made_by, userId);
  for (const changes of [
    { url: "https://example.com/two" },
    { events: ["message.sent"] },
    { status: "enabled" } as const,
  ]) {
    await hub.rows("UPDATE webhook_endpoints SET made_by = $1, made_by_key = $2", [userId, callerId]);
    const { made_by, made_by_key } = await by(changes);
    assert.deepEqual([made_by, made_by_key], [other.userId, null], JSON.stringify(changes));
  }
});

test("the creators of many endpoints are checked once each, not once for each endpoint", async () => {
  await using hub = await startWebhookTest();
  const other = await hub.addAdmin();
  const made: string[] = [];
  for (const by of [hub.principal, other]) {
    for (let number = 0; number < 4; number++) {
      made.push((await hub.connect(`https://example.com/${number}`, {}, by)).webhook_endpoint_id);
    }
  }
  const countCalls = async (tx: Db) => {
    const text = "SELECT coalesce(pg_stat_get_xact_function_calls('admin_holds'::regproc), 0) AS calls";
    return (await one<{ calls: number }>(tx, text, [])).calls;
  };
  const check = () =>
    transaction(hub.line.pool, async (tx) => {
      await run(tx, "SET LOCAL track_functions = 'all'", []);
      const before = await countCalls(tx);
      const found = await endpointsWithoutCreator(tx, new Date());
      return { lost: found.map(({ endpointId }) => endpointId).sort(), calls: (await countCalls(tx)) - before };
    });
  assert.deepEqual(await check(), { lost: [], calls: 2 });
  await hub.rows("UPDATE api_keys SET revoked_at = now() WHERE created_by = $1", [hub.principal.userId]);
  await hub.rows("UPDATE webhook_endpoints SET is_authorized = false WHERE webhook_endpoint_id = $1", [made[7]]);
  assert.deepEqual(await check(), { lost: [...made.slice(0, 4), made[7]].sort(), calls: 2 });
});
