import assert from "node:assert/strict";
import { test } from "node:test";
import type { InboundEvent } from "../connectors/connector.ts";
import { all, one } from "../lib/query.ts";
import { type PipelineOptions, startPipeline } from "../testing/test-pipeline.ts";
import { receiveWebhooks } from "./receive.ts";
import { openWebhookStore } from "./webhook-store.ts";
import { type InboundRecord, loadWebhooks } from "./webhooks.ts";

test("receipts are applied in the commit that stores their webhook, and nothing is put on the bus", async () => {
  await using calls = await open();
  const { line } = calls;
  const sent = await calls.send("oi");
  await calls.platformCalls(receipt(sent.id, "delivered"));
  assert.equal((await line.deliveryOf(sent.messageId)).status, "delivered");
  assert.deepEqual(await calls.published(), []);
  const { webhook_id } = await one<{ webhook_id: string }>(line.pool, "SELECT webhook_id FROM webhooks");
  const { history } = await line.deliveryOf(sent.messageId);
  assert.equal((history.at(-1) as unknown as { webhook_id: string }).webhook_id, webhook_id);
});

test("receipts of both parts of a text, in one webhook, are applied at once", async () => {
  await using calls = await open({ capabilities: { maxTextLength: 4 } });
  const { line } = calls;
  const { messageId } = await calls.send("abcdefgh");
  const { provider_message_ids: ids } = await line.deliveryOf(messageId);
  await calls.platformCalls(receipt(ids![0]!, "read"), receipt(ids![1]!, "delivered"));
  assert.equal((await line.deliveryOf(messageId)).status, "delivered");
  assert.deepEqual(await calls.published(), []);
});

test("a long webhook of receipts is stored compressed, and read again as it came", async () => {
  await using calls = await open();
  const { line } = calls;
  const sent = await calls.send("oi");
  const receipts = Array.from({ length: 50 }, (_, index) => receipt(`unknown-${index}`, "delivered"));
  const rawBody = Buffer.from(JSON.stringify([...receipts, receipt(sent.id, "read")]));
  await calls.store.keep({ workspaceId: line.workspaceId, channelAccountId: line.accountId, headers: {}, rawBody });
  assert.equal((await line.deliveryOf(sent.messageId)).status, "read");
  const stored = await one<{ id: string; bytes: number; size: number }>(
    line.pool,
    `SELECT webhook_id AS id, octet_length(body) AS bytes, body_size AS size FROM webhooks`,
  );
  assert.equal(stored.size, rawBody.length);
  assert.ok(stored.bytes < rawBody.length / 4, `${stored.bytes} of ${rawBody.length} bytes`);
  // As after a commit whose response was lost: then it is published as well.
  const { webhooks } = await loadWebhooks(line.pool, [stored.id]);
  assert.deepEqual(
    webhooks.map((webhook) => webhook.rawBody),
    [rawBody],
  );
});

test("a webhook with a message, or in a process without the step, is published", async () => {
  await using calls = await open();
  const sent = await calls.send("oi");
  await calls.platformCalls(receipt(sent.id, "delivered"), message("m1", "olá"));
  assert.equal((await calls.published()).length, 1);
  assert.equal((await calls.line.deliveryOf(sent.messageId)).status, "sent");

  await using unfused = await open({}, { isFused: false });
  const other = await unfused.send("oi");
  await unfused.platformCalls(receipt(other.id, "delivered"));
  assert.equal((await unfused.published()).length, 1);
});

test("a webhook whose receipts the database refuses is kept, and the step applies them later", async () => {
  await using calls = await open();
  const { line } = calls;
  const sent = await calls.send("oi");
  await line.admin.query(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON deliveries FOR EACH ROW EXECUTE FUNCTION refuse()`);
  await calls.platformCalls(receipt(sent.id, "read"));
  assert.equal((await line.deliveryOf(sent.messageId)).status, "sent");
  await line.admin.query("DROP TRIGGER refuse ON deliveries");
  const published = await calls.published();
  assert.equal(published.length, 1);
  await receiveWebhooks(
    calls.deps,
    published.map((value, index) => ({ partition: 0, offset: index + 1, key: line.accountId, value })),
  );
  assert.equal((await line.deliveryOf(sent.messageId)).status, "read");
});

test("a webhook that the connector cannot read is kept for the step, and does not hold up others", async () => {
  await using calls = await open();
  const { line } = calls;
  const sent = await calls.send("oi");
  await Promise.all([
    calls.platformCalls(receipt(sent.id, "delivered")),
    calls.store.keep({
      workspaceId: line.workspaceId,
      channelAccountId: line.accountId,
      headers: {},
      rawBody: Buffer.from("{"),
    }),
  ]);
  assert.equal((await line.deliveryOf(sent.messageId)).status, "delivered");
  assert.equal((await calls.published()).length, 1);
});

function receipt(providerMessageId: string, status: "delivered" | "read"): InboundEvent {
  return { kind: "receipt", providerMessageId, deliveryId: null, status, error: null, at: Date.now() };
}

function message(providerMessageId: string, text: string): InboundEvent {
  const payload = { type: "text", text } as const;
  const sender = { identifier: "ana", aliases: [], displayName: null };
  return { kind: "message", providerMessageId, ...sender, payload, quotedProviderMessageId: null, at: Date.now() };
}

async function open(options: PipelineOptions = {}, { isFused = true } = {}) {
  const line = await startPipeline(options);
  const connector = { ...line.connector, parse: ({ rawBody }: { rawBody: Buffer }) => JSON.parse(String(rawBody)) };
  const quiet = { info() {}, warn() {}, error() {} };
  const deps = {
    ...line.deps,
    log: quiet,
    acceptor: line.acceptor,
    taskNotifier: { due() {} },
    connectorFor: () => connector,
    findAccount: async () => ({ ...line.account, workspaceId: line.workspaceId }),
  };
  const store = openWebhookStore({ ...deps, isFused });
  return {
    line,
    deps,
    store,
    async send(text: string) {
      const { messageId } = await line.say(await line.addConversation(await line.addPerson(`ana-${text}`)), text);
      await line.settled();
      const { provider_message_ids } = await line.deliveryOf(messageId);
      return { messageId, id: provider_message_ids![0]! };
    },
    async platformCalls(...events: InboundEvent[]) {
      const rawBody = Buffer.from(JSON.stringify(events));
      await store.keep({ workspaceId: line.workspaceId, channelAccountId: line.accountId, headers: {}, rawBody });
    },
    async published(): Promise<InboundRecord[]> {
      const rows = await all<{ records: string }>(line.pool, "SELECT records FROM bus_records WHERE topic = 'inbound'");
      return rows.flatMap(({ records }) =>
        (JSON.parse(records) as [string, InboundRecord][]).map(([, value]) => value),
      );
    },
    [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
  };
}
