import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { test } from "node:test";
import { patient } from "../testing/patience.ts";
import { ok, startReceiver, startWebhookTest, status, type WebhookTest } from "../testing/test-webhooks.ts";
import { until } from "../testing/until.ts";
import { deleteOldWebhookDeliveries } from "./claims.ts";
import { giveUpDisabled } from "./disable.ts";
import { follow, followedWorkspaces } from "./follow.ts";
import { attemptTimeoutMs } from "./send.ts";
import { changeEndpoint, replayRange } from "./webhook-endpoints.ts";

const accepted = { events: ["message.accepted"] };
/** How long a delivery may take among many, in milliseconds. */
const eachMs = 200;

const allDone = (hub: WebhookTest, count: number) =>
  until(
    "all deliveries succeed",
    async () => (await hub.deliveries()).filter((row) => row.status === "succeeded").length === count,
    count * eachMs,
  );

test("many processes that follow a feed write each delivery once", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  const { secret: _, ...first } = await hub.connect(receiver.url, accepted);
  await hub.connect(receiver.url);
  const chat = await hub.chat();
  await Promise.all(Array.from({ length: 250 }, (_, index) => hub.line.say(chat, `${index}`)));
  await hub.line.settled();
  const { deps } = hub;
  const read = async () => {
    for (;;) {
      const [state] = await followedWorkspaces(deps.db);
      if (!state!.is_behind) return;
      await follow(deps, hub.line.workspaceId, new Date());
    }
  };
  await Promise.all([read(), read(), read(), read()]);
  const [events] = await hub.rows<{ last_position: number }>("SELECT last_position FROM event_heads");
  const deliveries = await hub.rows<{ webhook_endpoint_id: string; position: number }>(
    "SELECT webhook_endpoint_id, position FROM webhook_deliveries ORDER BY position",
  );
  const of = (isFirst: boolean) =>
    deliveries.filter((row) => (row.webhook_endpoint_id === first.webhook_endpoint_id) === isFirst);
  assert.equal(of(true).length, 250);
  assert.deepEqual(
    of(false).map((row) => row.position),
    Array.from({ length: events!.last_position }, (_, index) => index + 1),
  );
});

test("two processes share the work, send each delivery once, and keep the order of an ordered endpoint", async () => {
  await using hub = await startWebhookTest();
  await using loose = await startReceiver();
  let underWay = 0;
  // A slow receiver would see a second request that does not wait for the first.
  await using ordered = await startReceiver((got, response) => {
    underWay += 1;
    assert.equal(underWay, 1, "two requests at once");
    setTimeout(
      () => {
        underWay -= 1;
        ok(got, response, 1);
      },
      (Number(got.data.seq) * 7) % 5,
    );
  });
  await hub.connect(loose.url, accepted);
  await hub.connect(ordered.url, { ...accepted, ordered: true });
  hub.start();
  hub.start();
  const chat = await hub.chat();
  for (let batch = 0; batch < 5; batch += 1) {
    await Promise.all(Array.from({ length: 40 }, (_, index) => hub.line.say(chat, `${batch} ${index}`)));
    hub.notify();
  }
  await allDone(hub, 400);
  for (const receiver of [loose, ordered]) {
    assert.equal(receiver.got.length, 200);
    assert.equal(new Set(receiver.got.map((got) => got.headers["webhook-id"])).size, 200);
  }
  assert.deepEqual(
    ordered.got.map((got) => got.data.seq),
    Array.from({ length: 200 }, (_, index) => index + 1),
  );
});

test("another process sends what a dead one had claimed, once its lease is over", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  await hub.connect(receiver.url, { ...accepted, ordered: true });
  const chat = await hub.chat();
  await hub.line.say(chat, "first");
  await hub.line.say(chat, "second");
  await follow(hub.deps, hub.line.workspaceId, new Date());
  // A process that claims the head, and is killed.
  const dead = randomUUID();
  const start = Date.now();
  await hub.rows("INSERT INTO webhook_senders VALUES ($1, now() + interval '2 seconds')", [dead]);
  await hub.rows("UPDATE webhook_deliveries SET owner_id = $1 WHERE position = 2", [dead]);
  hub.start({ leaseMs: 2_000 });
  await receiver.has(2);
  assert.ok(Date.now() - start > 1_500, "it counts as alive until its lease ends");
  assert.deepEqual(
    receiver.got.map((got) => got.data.content),
    ["first", "second"],
  );
});

test("the claims of a dead process do not last longer when the database's clock was set back", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver();
  await hub.connect(receiver.url, accepted);
  await hub.line.say(await hub.chat(), "oi");
  await follow(hub.deps, hub.line.workspaceId, new Date());
  const dead = randomUUID();
  await hub.rows("INSERT INTO webhook_senders VALUES ($1, now() + interval '1 hour')", [dead]);
  await hub.rows("UPDATE webhook_deliveries SET owner_id = $1", [dead]);
  hub.start();
  await receiver.has(1);
});

test("a live process keeps its claims while an endpoint takes long to respond", async () => {
  await using hub = await startWebhookTest();
  // The receiver takes several leases, which a busy machine still renews in time.
  const [leaseMs, thinkMs] = [patient(500), Math.min(patient(2_000), attemptTimeoutMs - 3_000)];
  await using receiver = await startReceiver((got, response) => setTimeout(() => ok(got, response, 1), thinkMs));
  await hub.connect(receiver.url, accepted);
  hub.start({ leaseMs });
  hub.start({ leaseMs });
  await hub.line.say(await hub.chat(), "oi");
  await allDone(hub, 1);
  assert.equal(receiver.got.length, 1);
});

test("the process that has claimed a delivery logs its owner id", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(() => {});
  await hub.connect(receiver.url, accepted);
  const lines: object[] = [];
  hub.start({ log: { ...hub.deps.log, info: (fields: object) => void lines.push(fields) } });
  await hub.line.say(await hub.chat(), "oi");
  await receiver.has(1);
  const [claimed] = await hub.rows<{ owner_id: string }>(
    "SELECT owner_id FROM webhook_deliveries WHERE status = 'pending'",
  );
  assert.deepEqual(lines, [{ owner: claimed!.owner_id, host: hostname(), pid: process.pid }]);
});

test("a process that closes gives back what it has not sent", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(() => {});
  await hub.connect(receiver.url, accepted);
  const engine = hub.start();
  await hub.line.say(await hub.chat(), "oi");
  await receiver.has(1);
  const start = Date.now();
  await engine.close();
  assert.ok(Date.now() - start < patient(4_000), "closing does not wait for a response that may never arrive");
  const [row] = await hub.deliveries();
  assert.deepEqual([row!.status, row!.attempts, row!.owner_id], ["pending", 0, null]);
  receiver.answer = ok;
  hub.start();
  await allDone(hub, 1);
});

test("forty hanging endpoints delay no other endpoint, and have one connection each", async () => {
  await using hub = await startWebhookTest();
  await using hanging = await startReceiver(() => {});
  await using live = await startReceiver();
  for (let index = 0; index < 40; index += 1) await hub.connect(`${hanging.url}/${index}`, accepted);
  await hub.connect(live.url, accepted);
  // No attempt times out, so a delivery that waits behind the hanging ones never arrives.
  const engine = hub.start({ http: (call) => hub.deps.http({ ...call, timeoutMs: 3_600_000 }) });
  await engine.poll();
  const chat = await hub.chat();
  for (let index = 0; index < 30; index += 1) {
    await hub.line.say(chat, `${index}`);
    hub.notify();
    await live.has(index + 1);
  }
  assert.equal(hanging.got.length, 40, "each is asked one thing at a time");
});

test("deliveries of a disabled endpoint are given up, can be replayed, and are not sent when it is enabled", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(status(500));
  const { webhook_endpoint_id: id } = await hub.connect(receiver.url, accepted);
  const engine = hub.start();
  const from = new Date(Date.now() - 60_000);
  await hub.line.say(await hub.chat(), "oi");
  await receiver.has(1);
  await until("the attempt is written", async () => (await hub.deliveries())[0]!.attempts === 1);
  await changeEndpoint(hub.deps, hub.db, hub.principal, id, { status: "disabled" });
  assert.equal((await hub.deliveries())[0]!.status, "failed");
  receiver.answer = ok;
  await changeEndpoint(hub.deps, hub.db, hub.principal, id, { status: "enabled" });
  hub.passTime(60_000);
  await engine.poll();
  assert.equal(receiver.got.length, 1);
  const { replayed } = await replayRange(hub.deps, hub.db, {}, hub.key(id), {
    from,
    to: new Date(Date.now() + 60_000),
  });
  assert.equal(replayed, 1);
  await allDone(hub, 1);
  assert.equal(receiver.got[1]!.headers["webhook-id"], receiver.got[0]!.headers["webhook-id"]);
});

test("deletes old deliveries, and gives up those that wait for disabled endpoints", async () => {
  await using hub = await startWebhookTest();
  await using receiver = await startReceiver(status(410));
  await hub.connect(receiver.url, accepted);
  const chat = await hub.chat();
  for (let index = 0; index < 3; index += 1) await hub.line.say(chat, `${index}`);
  hub.start();
  await until(
    "the endpoint is disabled",
    async () => (await hub.rows("SELECT 1 FROM webhook_endpoints WHERE status = 'disabled'")).length === 1,
  );
  await giveUpDisabled(hub.deps);
  await until("no delivery waits", async () => {
    await giveUpDisabled(hub.deps);
    return (await hub.deliveries()).every((row) => row.status === "failed");
  });
  assert.equal(await deleteOldWebhookDeliveries(hub.deps), 0);
  hub.passTime(31 * 86_400_000);
  assert.ok((await deleteOldWebhookDeliveries(hub.deps)) >= 4);
  assert.deepEqual(await hub.deliveries(), []);
});
