/** A signed webhook, however long, holds the event loop no longer than a request may: neither while it is received nor while it is read. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import type { TestHub } from "./src/harness.ts";
import { openLoopMeter } from "./src/loop-delay.ts";
import { openHome } from "./src/things.ts";

const opened = closeAfterTests();
const meter = opened.use(openLoopMeter());
const credentials = {
  phone_number_id: "106540352242999",
  access_token: "EAAtoken",
  app_secret: "the app's secret",
  verify_token: "verify",
};
let hub: TestHub;
let url: string;

before(async () => {
  const { hub: started, home } = await openHome(opened);
  hub = started;
  const { channel_account_id } = await home.admin.client.channelAccounts.create({
    channel: "whatsapp",
    name: "A number",
    credentials,
    settings: { base_url: `${hub.simulator.url}/whatsapp` },
    verify: false,
  });
  url = `${hub.url}/webhooks/whatsapp/${channel_account_id}`;
});

const listOf = <Item>(count: number, make: (index: number) => Item) =>
  Array.from({ length: count }, (_, index) => make(index));
const timestamp = () => String(Math.floor(Date.now() / 1_000));
let ids = 0;
function newId(): string {
  ids += 1;
  return `wamid.${ids}`;
}

function bodyOf(value: object, field = "messages", count = 1): string {
  const { phone_number_id } = credentials;
  const change = { field, value: { messaging_product: "whatsapp", metadata: { phone_number_id }, ...value } };
  return JSON.stringify({
    object: "whatsapp_business_account",
    entry: [{ id: "1", changes: listOf(count, () => change) }],
  });
}

/** Of one of 50 people. */
const message = (index: number, words: string) => ({
  id: newId(),
  from: `551199999${1_000 + (index % 50)}`,
  type: "text",
  timestamp: timestamp(),
  text: { body: words },
});
const contact = (index: number) => ({ wa_id: `552199${10_000 + index}`, profile: { name: `Person ${index}` } });
const status = () => ({ id: newId(), status: "delivered", timestamp: timestamp(), recipient_id: "5511999991111" });

/** Bodies that are sent at the same time. Each try sends new ones, because known messages take another path. */
const webhooks: Record<string, () => string[]> = {
  "messages and contacts by the thousand": () => [
    bodyOf({ contacts: listOf(4_000, contact), messages: listOf(4_000, (index) => message(index, "hi")) }),
  ],
  "receipts by the thousand": () => [bodyOf({ statuses: listOf(6_000, status) })],
  "unknown changes by the thousand": () => [bodyOf({}, "another", 9_000)],
  "long texts, in several webhooks at once": () =>
    listOf(10, () => bodyOf({ messages: listOf(20, (index) => message(index, "é".repeat(50_000))) })),
};
const maxTries = 15;

for (const [name, make] of Object.entries(webhooks)) {
  test(name, async () => {
    const seen: string[] = [];
    for (let tries = 0; tries < maxTries; tries += 1) {
      const [first, ...others] = make().map(requestOf);
      const sending = Promise.all(others.map((request) => meter.send(request)));
      const settled = async () => {
        for (const { status, text } of await sending) assert.equal(status, 200, text);
        await hub.settled();
      };
      const { answer, heldMs, allowedMs } = await meter.measure(first!, settled, 1);
      assert.equal(answer.status, 200, answer.text);
      if (heldMs <= allowedMs) return;
      seen.push(`${heldMs.toFixed(1)} of ${allowedMs.toFixed(1)} ms`);
    }
    assert.fail(`It held the event loop for ${seen.join(", ")}.`);
  });
}

function requestOf(body: string) {
  const signature = `sha256=${createHmac("sha256", credentials.app_secret).update(body).digest("hex")}`;
  return {
    url,
    method: "POST",
    headers: { "content-type": "application/json", "x-hub-signature-256": signature },
    body,
  };
}
