/**
 * The disaster: the database fails while the receipts of a webhook are merged, the platform has got its 200, and no one
 * ever applies them.
 */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import type { ChannelAccountId } from "../server/src/lib/ids.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

const text = (text: string) => ({ type: "text" as const, text });

/** Statements fail as on a full disk when they do this to the table, until the end of it. */
async function failing(hub: TestHub, table: string, event: string, when: string) {
  const owner = createClient({ url: hub.databaseUrl, applicationName: "test" });
  await owner.connect();
  await owner.query(`
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'it fails' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER fail BEFORE ${event} ON ${table} FOR EACH ROW WHEN (${when}) EXECUTE FUNCTION fail()`);
  return {
    async [Symbol.asyncDispose]() {
      await owner.query("DROP FUNCTION fail CASCADE");
      await owner.end();
    },
  };
}

test("webhooks whose receipts cannot be merged get 200 and are kept, and their receipts are applied later", async () => {
  await using hub = await startTestHub();
  const people = [hub.person("whatsapp"), hub.person("whatsapp")];
  const said = [];
  {
    await using _ = await failing(hub, "deliveries", "UPDATE", "NEW.status IN ('delivered', 'read')");
    for (const { address } of people) said.push(await hub.client.messages.send({ to: address, payload: text("oi") }));
    await Promise.all(people.map((person) => person.receives(1)));
    await hub.simulator.idle();
    for (const { message_id } of said) await hub.status(message_id, "sent");
    // They are tried again, and fail again.
    await until("the step receive is in trouble", async () => {
      const { status, ...body } = await ready(hub);
      return status === 503 && JSON.stringify(body).includes("53100");
    });
    const { rowCount } = await hub.db.query("SELECT FROM webhooks");
    assert.ok(rowCount! > 0);
  }
  for (const { message_id } of said) await hub.status(message_id, "read");
  await hub.settled();
  assert.deepEqual((await hub.client.deadLetters.list()).data, []);
});

test("a webhook that cannot be stored gets 503, and its receipts are applied when the platform sends it again", async () => {
  await using hub = await startTestHub();
  await hub.simulator.settings("whatsapp", { auto_receipts: false });
  const { message_id } = await hub.client.messages.send({ to: hub.person("whatsapp").address, payload: text("oi") });
  const { deliveries } = await hub.status(message_id, "sent");
  const call = await readReceiptOf(hub, deliveries[0]!.provider_message_ids[0]!);
  {
    await using _ = await failing(hub, "webhooks", "INSERT", "true");
    const refused = await call();
    assert.equal(refused.status, 503);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
  }
  assert.equal((await call()).status, 200);
  await hub.status(message_id, "read");
});

/** Calls the hub as WhatsApp does. */
async function readReceiptOf(hub: TestHub, providerMessageId: string): Promise<() => Promise<Response>> {
  const id = (await hub.account("whatsapp")).channel_account_id as ChannelAccountId;
  const { credentials } = (await hub.hub.context.accounts.get(id))!;
  const { app_secret, phone_number_id } = credentials as Record<string, string>;
  const status = { id: providerMessageId, status: "read", timestamp: "1763640000", recipient_id: "5511910000001" };
  const value = { messaging_product: "whatsapp", metadata: { phone_number_id }, statuses: [status] };
  const entry = [{ id: "1", changes: [{ field: "messages", value }] }];
  const body = JSON.stringify({ object: "whatsapp_business_account", entry });
  const signature = `sha256=${createHmac("sha256", app_secret!).update(body).digest("hex")}`;
  const headers = { "content-type": "application/json", "x-hub-signature-256": signature };
  return () => fetch(`${hub.url}/webhooks/whatsapp/${id}`, { method: "POST", headers, body });
}

async function ready(hub: TestHub) {
  const response = await fetch(`${hub.url}/readyz`);
  return { status: response.status, body: await response.json() };
}
