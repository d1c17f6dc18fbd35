/** The platforms decide who may be written to first, and the simulator enforces the same rules. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Payload } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";
import { text } from "./src/workspace.ts";

const template: Payload = { type: "template", name: "hello_world", language: "en_US", parameters: [] };

let hub: TestHub;
let token: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
  for (const channel of ["whatsapp", "telegram"]) await hub.simulator.settings(channel, { enforce_window: true });
  token = (await hub.logIn("admin")).access_token;
});

async function send({ address: to }: Person, payload: Payload) {
  const { message_id } = await hub.client.messages.send({ to, payload });
  await hub.settled();
  const { status, deliveries } = await hub.client.messages.get(message_id);
  return { status, code: deliveries[0]!.error?.code ?? null };
}

async function foresee({ address: to }: Person, payload: Payload) {
  const { recipients } = await hub.call("POST", "/v1/messages/preflight", token, { to, payload });
  const { can_send, reason, needs, window } = recipients[0];
  return { can_send, reason, needs, window: window.state };
}

test("on WhatsApp a template reaches anyone, free text only a person who wrote within a day, and preflight says so", async () => {
  const ana = hub.person("whatsapp", "Ana");
  const closed = { can_send: false, reason: "WINDOW_CLOSED", needs: "template", window: "closed" };
  assert.deepEqual(await foresee(ana, text("Hello")), closed);
  assert.deepEqual(await send(ana, text("Hello")), { status: "failed", code: "WINDOW_CLOSED" });
  assert.deepEqual(await foresee(ana, template), { ...closed, can_send: true, reason: null, needs: null });
  assert.deepEqual(await send(ana, template), { status: "read", code: null });
  await ana.writes("Hi");
  await hub.settled();
  assert.deepEqual(await foresee(ana, text("Hello")), { can_send: true, reason: null, needs: null, window: "open" });
  assert.deepEqual(await send(ana, text("Hello")), { status: "read", code: null });
});

test("on Telegram a bot reaches only people who have written to it", async () => {
  const bruno = hub.person("telegram", "Bruno");
  assert.deepEqual(await send(bruno, text("Hello")), { status: "failed", code: "INVALID_RECIPIENT" });
  await bruno.writes("/start");
  await hub.settled();
  assert.deepEqual(await send(bruno, text("Hello")), { status: "sent", code: null });
});
