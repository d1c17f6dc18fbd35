import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { transaction } from "../lib/postgres.ts";
import { type Db, one, run } from "../lib/query.ts";
import { startWebhookTest, type WebhookTest } from "../testing/test-webhooks.ts";
import { until } from "../testing/until.ts";
import { type Finished, finishAttempts } from "./attempts.ts";
import { deleteOldWebhookDeliveries, freeAbandoned, leave } from "./claims.ts";
import { giveUpPending } from "./disable.ts";
import { follow } from "./follow.ts";
import { failedHere } from "./send.ts";
import { findEndpoint, replayRange } from "./webhook-endpoints.ts";

const count = 40;

interface Scene {
  hub: WebhookTest;
  endpointId: string;
  /** Null: no process has claimed them. */
  ownerId: string | null;
  /** In the order of their ids. */
  ids: string[];
}

/** Operations that change many deliveries at once, each in the order that is worst for deadlocks. */
const others: Record<string, (scene: Scene) => Promise<unknown>> = {
  "attempts that end": ({ hub, endpointId, ownerId, ids }) => {
    const outcome = failedHere(new Date());
    const { workspaceId } = hub.line;
    const finished = ids.map((deliveryId): Finished => {
      return {
        deliveryId,
        workspaceId,
        endpointId,
        event: "message.accepted",
        number: 1,
        outcome,
        retryAt: new Date(),
      };
    });
    return finishAttempts(hub.deps.db, ownerId!, finished.reverse());
  },
  "a process that leaves": ({ hub, ownerId }) => leave(hub.deps.db, ownerId!),
  "a process that takes over": ({ hub }) => freeAbandoned(hub.deps.db, 4_000),
  "an endpoint that is given up": async ({ hub, endpointId }) => {
    await setStatus(hub.line.pool, endpointId, "disabled");
    return giveUpPending(hub.deps.db, endpointId);
  },
  "the deletion of old deliveries": ({ hub }) =>
    deleteOldWebhookDeliveries({
      db: hub.deps.db,
      clock: { ...hub.deps.clock, now: () => Date.now() + 40 * 86_400_000 },
    }),
  "another replay": (scene) => replay(scene),
};

function replay({ hub, endpointId }: Scene) {
  return replayRange(hub.deps, hub.db, hub.principal, hub.key(endpointId), {
    from: new Date(Date.now() - 3_600_000),
    to: new Date(Date.now() + 60_000),
  });
}

// A replay and finished attempts once deadlocked, each with half of the rows of the other (40P01).
for (const [name, change] of Object.entries(others)) {
  test(`a replay and ${name} do not deadlock`, async () => {
    await using hub = await startWebhookTest();
    const { webhook_endpoint_id: endpointId } = await hub.connect("http://127.0.0.1:65000/", {
      events: ["message.accepted"],
    });
    const chat = await hub.chat();
    await Promise.all(Array.from({ length: count }, (_, index) => hub.line.say(chat, `${index}`)));
    await hub.line.settled();
    while ((await follow(hub.deps, hub.line.workspaceId, new Date())).hasMore);
    const ownerId = name === "an endpoint that is given up" ? null : randomUUID();
    const ids = (
      await hub.rows<{ id: string }>("SELECT webhook_delivery_id AS id FROM webhook_deliveries ORDER BY 1")
    ).map(({ id }) => id);
    assert.equal(ids.length, count);
    // The order of the rows in the table is the reverse of their ids.
    for (const id of ids.toReversed())
      await run(
        hub.line.admin,
        "UPDATE webhook_deliveries SET owner_id = $2, next_attempt_at = next_attempt_at + interval '1 ms' WHERE webhook_delivery_id = $1",
        [id, ownerId],
      );
    await run(hub.line.admin, "VACUUM FULL webhook_deliveries");
    const scene = { hub, endpointId, ownerId, ids };
    const release = Promise.withResolvers<void>();
    const isHeld = Promise.withResolvers<void>();
    const holding = transaction(hub.line.pool, async (tx) => {
      await tx.query("SELECT FROM webhook_deliveries WHERE webhook_delivery_id = $1 FOR UPDATE", [ids[count / 2]]);
      isHeld.resolve();
      await release.promise;
    });
    await isHeld.promise;
    const replaying = replay(scene);
    await waiting(hub, 1);
    const ends = Promise.all([replaying, change(scene)]);
    await waiting(hub, 2);
    release.resolve();
    await holding;
    await ends;
  });
}

// The maintenance job lists the disabled endpoints first: one may be enabled, and get a new event, before its turn.
test("deliveries of an endpoint that is enabled are not given up", async () => {
  await using hub = await startWebhookTest();
  const { webhook_endpoint_id: id } = await hub.connect("http://127.0.0.1:65000/");
  await hub.line.say(await hub.chat(), "oi");
  await follow(hub.deps, hub.line.workspaceId, new Date());
  const isWaiting = async () => (await hub.deliveries()).every((row) => row.status === "pending");
  assert.equal(await giveUpPending(hub.deps.db, id), 0);
  assert.ok(await isWaiting());
  await setStatus(hub.line.pool, id, "disabled");
  let givingUp = Promise.resolve(0);
  await transaction(hub.line.pool, async (tx) => {
    await setStatus(tx, id, "enabled");
    givingUp = giveUpPending(hub.deps.db, id);
    await waiting(hub, 1);
  });
  assert.equal(await givingUp, 0, "enabled by a transaction that was not committed yet");
  assert.ok(await isWaiting());
  await setStatus(hub.line.pool, id, "disabled");
  assert.ok((await giveUpPending(hub.deps.db, id)) > 0);
});

// As after a password change that ends what its user made.
test("disabling endpoints without a creator does not deadlock with a change of one of them", async () => {
  await using hub = await startWebhookTest();
  const urls = ["http://127.0.0.1:65000/1", "http://127.0.0.1:65000/2"];
  const made = await Promise.all(urls.map((url) => hub.connect(url)));
  const [first, second] = made.map(({ webhook_endpoint_id }) => webhook_endpoint_id).sort();
  await hub.line.say(await hub.chat(), "something happens");
  await hub.rows("UPDATE users SET role = 'agent'");
  const isHeld = Promise.withResolvers<void>();
  const changing = transaction(hub.line.pool, async (tx) => {
    await tx.query("SELECT FROM webhook_endpoints WHERE webhook_endpoint_id = $1 FOR UPDATE", [second]);
    isHeld.resolve();
    await waiting(hub, 1);
    await tx.query("SELECT FROM audit_heads FOR UPDATE");
  });
  await isHeld.promise;
  await Promise.all([follow(hub.deps, hub.line.workspaceId, new Date()), changing]);
  for (const id of [first, second]) assert.equal((await findEndpoint(hub.db, hub.key(id!))).status, "disabled");
});

async function setStatus(db: Db, endpointId: string, status: string): Promise<void> {
  await run(db, "UPDATE webhook_endpoints SET status = $2 WHERE webhook_endpoint_id = $1", [endpointId, status]);
}

function waiting(hub: WebhookTest, count: number): Promise<unknown> {
  return until(`${count} statements wait for a lock`, async () => {
    const { waiting } = await one<{ waiting: number }>(
      hub.line.admin,
      "SELECT count(*) AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    return waiting === count;
  });
}
