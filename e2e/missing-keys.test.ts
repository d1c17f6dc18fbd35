/** Once a hub whose ENCRYPTION_KEY was replaced elsewhere said that it is ready, and sent nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, systemClock } from "../server/src/lib/clock.ts";
import type { ChannelAccountId } from "../server/src/lib/ids.ts";
import { reseal } from "../server/src/lib/reseal.ts";
import { namedKey, openSecretBox } from "../server/src/lib/secret-box.ts";
import { sealedColumns, watchKeysEveryMs } from "../server/src/sealed-columns.ts";
import { until } from "../server/src/testing/until.ts";
import { sharedSecrets, startTestHub, type TestHub } from "./src/harness.ts";
import { startWebhookProgram } from "./src/webhook-program.ts";
import { text } from "./src/workspace.ts";

const own = namedKey(Buffer.from(sharedSecrets.ENCRYPTION_KEY, "hex"));
const other = namedKey(Buffer.alloc(32, 9));

/** Looks for missing keys ten times a second. */
const hastyClock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs === watchKeysEveryMs ? 100 : delayMs, callback),
};

async function readiness({ url }: TestHub) {
  const answer = await fetch(`${url}/readyz`);
  return { status: answer.status, troubles: ((await answer.json()) as { troubles: object[] }).troubles };
}

test("readyz names a missing key, no message fails meanwhile, and all are sent when the key is back", async () => {
  await using program = await startWebhookProgram();
  await using hub = await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" }, clock: hastyClock });
  const url = program.urlOf("hook");
  const { webhook_endpoint_id: id, secret } = await hub.client.webhookEndpoints.create({
    url,
    events: ["message.accepted"],
  });
  await program.behave("hook", secret);
  assert.equal((await readiness(hub)).status, 200);

  await reseal(hub.db, openSecretBox([other, own]), sealedColumns);
  await hub.db.query("UPDATE channel_accounts SET version = version + 1");
  await until("it is not ready", async () => {
    const { status, troubles } = await readiness(hub);
    return status === 503 && troubles.some((one) => "part" in one && one.part === "sealed secrets");
  });
  const { channel_account_id: number } = await hub.account("whatsapp");
  const { accounts } = hub.hub.context;
  await until("its credentials are read again", () =>
    accounts.get(number as ChannelAccountId).then(
      () => false,
      () => true,
    ),
  );
  const control = await hub.client.webhookEndpoints.create({
    url: program.urlOf("control"),
    events: ["message.accepted"],
  });
  await program.behave("control", control.secret);
  const ana = hub.person("whatsapp");
  const say = () => hub.client.messages.send({ to: ana.address, payload: text("Hi") });
  const { message_id } = await say();
  await program.has("control", "the event", ({ length }) => length === 1);
  const last = await say();
  await program.has("control", "both events", ({ length }) => length === 2);
  const { rows } = await hub.db.query(
    "SELECT attempts, status FROM webhook_deliveries WHERE webhook_endpoint_id = $1",
    [id],
  );
  assert.deepEqual(rows, Array(2).fill({ attempts: 0, status: "pending" }));
  const { deliveries } = await hub.client.messages.get(message_id);
  assert.deepEqual([deliveries[0]!.status, deliveries[0]!.attempts], ["accepted", 0]);

  await reseal(hub.db, openSecretBox([own, other]), sealedColumns);
  await hub.db.query("UPDATE channel_accounts SET version = version + 1");
  await program.has("hook", "both events", ({ length }) => length === 2);
  for (const id of [message_id, last.message_id]) await hub.status(id, "read");
  await until("it is ready", async () => (await readiness(hub)).status === 200);
});
