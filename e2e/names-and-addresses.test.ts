/** Names and addresses that a client or a platform gives must not be mistaken for others. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword, startTestHub, type TestHub } from "./src/harness.ts";
import { text } from "./src/workspace.ts";

let hub: TestHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
});

const blanks = ["\u3164", "\u200b", "\u2800", "\u115f", "\uffa0", "\ufe0f", " \u00a0 "];
const turning = ["\u202eevil", "a\u2066b", "a\u2028b"];

test("every route refuses a name without a visible character, or one that changes the direction of text", async () => {
  const given: [string, (name: string) => object][] = [
    ["POST /v1/contacts", (display_name) => ({ display_name })],
    ["POST /v1/conversations", (title) => ({ type: "group", title, members: [] })],
    [
      "POST /v1/conversations",
      (display_name) => ({ type: "private", members: [{ address: "telegram:77", display_name }] }),
    ],
    ["PATCH /v1/me", (display_name) => ({ display_name })],
    ["POST /v1/users", (display_name) => ({ ...account(), role: "member", display_name })],
    ["POST /v1/workspaces", (name) => ({ name, admin: account() })],
    ["POST /v1/api-keys", (name) => ({ name, scopes: ["*"] })],
  ];
  for (const [route, bodyWith] of given) {
    for (const name of [...blanks, ...turning]) {
      const { status, error } = await send(route, bodyWith(name));
      assert.deepEqual([status, error?.code], [400, "VALIDATION_ERROR"], `${route} ${JSON.stringify(name)}`);
    }
  }
});

test("such a name from a platform is replaced or cleaned", async () => {
  const cases: [string, string, RegExp][] = [
    ["whatsapp", "\u3164\u2800", /^\+55/],
    ["telegram", "\u202eanA\u202c\u2028Bot", /^anA Bot$/],
  ];
  for (const [channel, name, shown] of cases) {
    const person = hub.person(channel, name);
    await person.writes("oi");
    const contact = await until("the person is known", async () => {
      const { data } = await hub.admin.contacts.list({ address: person.address });
      return data[0];
    });
    assert.match(contact.display_name, shown);
  }
});

test("an old name is cleaned before it is put in front of a text", async () => {
  const [ana, bob] = [hub.person("telegram", "Ana"), hub.person("whatsapp", "Bob")];
  const group = await hub.group([ana, bob, (await hub.user("agent")).user_id]);
  const { data } = await hub.admin.contacts.list({ address: ana.address });
  const participants = "UPDATE participants SET display_name = $2 WHERE participant_id = $1";
  await hub.db.query(participants, [data[0]!.contact_id, "\u202eanA\u2029"]);
  await hub.client.messages.send({ conversation_id: group.conversation_id, payload: text("hello") });
  const [first] = await ana.receives(1);
  await ana.writes("hi", { replyTo: first!.provider_message_id });
  await bob.receives(2);
  assert.deepEqual((await bob.texts()).at(-1), "anA: hi");
});

test("a phone number without its country code is refused, and the error asks for it", async () => {
  for (const address of ["whatsapp:11987654321", "whatsapp:(11) 98765-4321", "whatsapp:5511987654321"]) {
    const path = encodeURIComponent(address);
    const refusals = [
      await send("POST /v1/messages", { to: address, payload: text("oi") }),
      await send("POST /v1/contacts", { display_name: "Ana", addresses: [address] }),
      await send("POST /v1/conversations", { type: "private", members: [{ address }, { address: "telegram:78" }] }),
      await send(`GET /v1/contacts?address=${path}`),
    ];
    for (const { status, error } of refusals) {
      assert.deepEqual([status, error?.code], [400, "VALIDATION_ERROR"]);
      assert.match(error!.message, /with \+ and its country code, such as \+5511999991111/);
    }
  }
  const { status } = await send("POST /v1/contacts", {
    display_name: "Ana",
    addresses: ["whatsapp:+55 (11) 98765-4321"],
  });
  assert.equal(status, 201);
});

const account = () => ({
  username: `u-${randomUUID().slice(0, 8)}`,
  email: `${randomUUID()}@example.com`,
  password: adminPassword,
});

let token: string | undefined;

async function send(route: string, body?: object) {
  token ??= (await hub.logIn("admin")).access_token;
  const [method, path] = route.split(" ") as [string, string];
  const answer = await fetch(hub.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  const { error } = (await answer.json()) as { error?: { code: string; message: string } };
  return { status: answer.status, error };
}
