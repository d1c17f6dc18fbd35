import assert from "node:assert/strict";
import { before, test } from "node:test";
import { ApiError, type WebhookEvent } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { startWebhookProgram, type WebhookProgram } from "./src/webhook-program.ts";
import type { Received } from "./src/webhook-receiver.ts";

// Journeys of a hub as `npm start` starts it, and a program that verifies with `standardwebhooks`.

let hub: TestHub;
let program: WebhookProgram;

const opened = closeAfterTests();
before(async () => {
  program = opened.use(await startWebhookProgram());
  hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
});

const areVerified = (received: readonly Received[]) => received.every((one) => one.isVerified);
const textsOf = (received: readonly Received[], type = "message.accepted") =>
  received.filter((one) => one.type === type).map((one) => one.data.content);

/** An endpoint of the program, under its own name. */
async function connect(name: string, more: { events?: WebhookEvent[]; ordered?: boolean } = {}) {
  const { events = ["*"], ordered = false } = more;
  const endpoint = await hub.client.webhookEndpoints.create({ url: program.urlOf(name), events, ordered });
  await program.behave(name, endpoint.secret);
  return endpoint;
}

async function say(text: string, person = hub.person("whatsapp")) {
  return hub.client.messages.send({ to: person.address, payload: { type: "text", text } });
}

test("endpoints get the events of both directions, signed, and the trace lists the endpoints", async () => {
  const endpoint = await connect("both-sides");
  const ana = hub.person("telegram", "Ana");
  await ana.writes("bom dia");
  const sent = await say("hello", ana);
  await hub.settled();
  const wanted = ["message.received", "message.accepted", "message.in_transit", "message.sent"];
  const received = await program.has("both-sides", "all events were received", (all) =>
    wanted.every((type) => all.some((one) => one.type === type)),
  );
  assert.ok(areVerified(received));
  assert.deepEqual(textsOf(received, "message.received"), ["bom dia"]);
  assert.deepEqual(textsOf(received), ["hello"]);
  assert.ok(received.some((one) => one.type === "conversation.created"));
  const calls = await until("the trace names the endpoint", async () => {
    const trace = await hub.client.messages.trace(sent.message_id);
    const entries = trace.filter((entry) => entry.what === "webhook_endpoint");
    return entries.length >= 3 && entries;
  });
  assert.equal(calls[0]!.webhook_endpoint_id, endpoint.webhook_endpoint_id);
  assert.equal(calls[0]!.event, "message.accepted");
  assert.equal(calls[0]!.status_code, 204);
  await hub.client.webhookEndpoints.remove(endpoint.webhook_endpoint_id);
});

test("after a rotation both secrets sign for a while, then only the new one", async () => {
  const { webhook_endpoint_id: id, secret: old } = await connect("rotation", { events: ["message.accepted"] });
  const rotated = await hub.client.webhookEndpoints.rotateSecret(id, 3_600);
  assert.notEqual(rotated.secret, old);
  assert.ok(rotated.old_secret_until !== null);
  await say("with both");
  const [both] = await program.has("rotation", "it was received", (received) => received.length === 1);
  assert.equal(both!.isVerified, true, "the old secret still verifies");
  assert.equal(both!.signatures, 2);
  await program.behave("rotation", rotated.secret);
  await say("with both again");
  const received = await program.has("rotation", "it was received", (all) => all.length === 2);
  assert.equal(received[1]!.isVerified, true, "and so does the new one");

  const last = await hub.client.webhookEndpoints.rotateSecret(id, 0);
  await say("with the last");
  const refused = await program.has("rotation", "it was received", (all) => all.length >= 3);
  assert.equal(refused[2]!.isVerified, false, "a secret without overlap ends at once");
  assert.equal(refused[2]!.signatures, 1);
  await program.behave("rotation", last.secret);
  const again = await program.has("rotation", "it was sent again", (all) => all.at(-1)!.isVerified);
  assert.equal(again.at(-1)!.id, refused[2]!.id, "what was refused is sent again, under the same id");
  const { old_secret_until } = await hub.client.webhookEndpoints.rotateSecret(id);
  assert.ok(Math.abs(Date.parse(old_secret_until!) - Date.now() - 86_400_000) < 60_000, "a day by default");
  const shown = JSON.stringify(await hub.client.webhookEndpoints.get(id));
  assert.doesNotMatch(shown, /whsec_|secret_sealed/);
  await hub.client.webhookEndpoints.remove(id);
});

test("a failure is recorded as an attempt, the next attempt succeeds, and the delivery can be replayed", async () => {
  const endpoint = await connect("failure", { events: ["message.accepted"] });
  const { webhook_endpoint_id: id, secret } = endpoint;
  await program.behave("failure", secret, { kind: "fail", status: 500, times: 1 });
  await say("once more");
  const received = await program.has("failure", "it was sent twice", (all) => all.length === 2);
  const pause = received[1]!.atMs - received[0]!.atMs;
  assert.ok(pause > 4_400 && pause < patient(8_500), `${pause} ms`);
  const attempts = await until("both attempts are written", async () => {
    const { data } = await hub.client.webhookEndpoints.attempts(id);
    return data.length === 2 && data;
  });
  assert.deepEqual(
    attempts.map((one) => [one.number, one.status, one.status_code, one.webhook_id]),
    [
      [2, "succeeded", 204, received[0]!.id],
      [1, "failed", 500, received[0]!.id],
    ],
  );
  const { data: failed } = await hub.client.webhookEndpoints.attempts(id, { status: "failed" });
  assert.deepEqual(
    failed.map((one) => one.number),
    [1],
  );
  await program.behave("failure", secret);
  const replayed = await hub.client.webhookEndpoints.replayAttempt(id, failed[0]!.attempt_id);
  assert.equal(replayed.webhook_id, received[0]!.id);
  const all = await program.has("failure", "it was replayed", (all) => all.length === 3);
  assert.equal(all[2]!.id, received[0]!.id);
  await hub.client.webhookEndpoints.remove(id);
});

test("events missed while an endpoint was disabled are replayed by their time", async () => {
  const { webhook_endpoint_id: id } = await connect("missed", { events: ["message.accepted"] });
  await say("before");
  await program.has("missed", "the first was received", (all) => all.length === 1);
  await hub.client.webhookEndpoints.change(id, { status: "disabled" });
  const from = new Date().toISOString();
  await say("missed 1");
  await say("missed 2");
  await refused(hub.client.webhookEndpoints.replay(id, { from }), "CONFLICT");
  await hub.client.webhookEndpoints.change(id, { status: "enabled" });
  await say("after");
  await program.has("missed", "it continues from now", (all) => textsOf(all).includes("after"));
  assert.deepEqual(textsOf(await program.received("missed")), ["before", "after"]);
  const { replayed, next_from } = await hub.client.webhookEndpoints.replay(id, { from });
  assert.equal(replayed, 3);
  assert.equal(next_from, null);
  const received = await program.has("missed", "the missed ones were received", (all) => all.length === 5);
  assert.deepEqual(textsOf(received).toSorted(), ["after", "after", "before", "missed 1", "missed 2"]);
  assert.equal(new Set(received.map((one) => one.id)).size, 4);
  await hub.client.webhookEndpoints.remove(id);
});

test("an ordered endpoint waits for its first event, an unordered one continues, and a dead one delays neither", async () => {
  const wanted: { events: WebhookEvent[] } = { events: ["message.accepted"] };
  const ordered = await connect("ordered", { ...wanted, ordered: true });
  const loose = await connect("loose", wanted);
  const dead = await connect("dead", wanted);
  const slow = await connect("slow", wanted);
  await program.behave("dead", dead.secret, { kind: "fail", status: 503 });
  await program.behave("slow", slow.secret, { kind: "slow", ms: 12_000 });
  await program.behave("ordered", ordered.secret, { kind: "fail", status: 500, times: 1 });
  await program.behave("loose", loose.secret, { kind: "fail", status: 500, times: 1 });
  const person = hub.person("whatsapp");
  const texts = ["first", "second"];
  for (const text of texts) await say(text, person);
  const live = await connect("live", wanted);
  const quick = Date.now();
  await say("quick", person);
  const [calls] = await program.has("live", "the live one received it", (all) => all.length === 1);
  assert.ok(calls!.atMs - quick < Math.min(patient(1_500), 10_000), `${calls!.atMs - quick} ms`);
  // Each head fails once, and nothing behind it is sent before it has succeeded.
  const loosely = await program.has("loose", "all tried once", (all) => new Set(all.map((one) => one.id)).size === 3);
  assert.ok(loosely.length <= 5);
  const received = await program.has(
    "ordered",
    "all were received",
    (all) => all.filter((one) => one.status === 204).length === 3,
    60_000,
  );
  assert.deepEqual(
    textsOf(received),
    [...texts, "quick"].flatMap((text) => [text, text]),
  );
  for (const { webhook_endpoint_id } of [ordered, loose, dead, slow, live]) {
    await hub.client.webhookEndpoints.remove(webhook_endpoint_id);
  }
});

test("a test is sent at once and returns its attempt; a redirect is a failure and 410 disables", async () => {
  const { webhook_endpoint_id: id, secret } = await connect("tested", { events: ["conversation.updated"] });
  const attempt = await hub.client.webhookEndpoints.test(id);
  assert.equal(attempt.status, "succeeded");
  assert.equal(attempt.event, "webhook_endpoint.test");
  const [received] = await program.received("tested");
  assert.equal(received!.type, "webhook_endpoint.test");
  assert.equal(received!.id, attempt.webhook_id);
  assert.ok(received!.isVerified);
  await program.behave("tested", secret, { kind: "redirect", to: program.urlOf("elsewhere") });
  const redirected = await hub.client.webhookEndpoints.test(id);
  assert.equal(redirected.status_code, 302);
  assert.equal(redirected.status, "failed");
  await program.behave("tested", secret, { kind: "fail", status: 410 });
  await hub.client.webhookEndpoints.test(id);
  const gone = await hub.client.webhookEndpoints.get(id);
  assert.deepEqual([gone.status, gone.disabled_reason], ["disabled", "gone"]);
  const { data } = await hub.client.webhookEndpoints.attempts(id);
  assert.equal(data.length, 3);
  await hub.client.webhookEndpoints.remove(id);
  await refused(hub.client.webhookEndpoints.get(id), "RESOURCE_NOT_FOUND");
});

test("an endpoint that an API key made is disabled when the key is revoked, and an admin who enables it takes it over", async () => {
  const key = await hub.admin.apiKeys.create({ name: "Made it", scopes: ["webhook-endpoints:write", "messages:read"] });
  const events: WebhookEvent[] = ["message.received"];
  const endpoint = await hub.clientFor(key.key).webhookEndpoints.create({ url: program.urlOf("by-a-key"), events });
  const { webhook_endpoint_id: id, made_by_key_id } = endpoint;
  assert.equal(made_by_key_id, key.api_key_id);
  await program.behave("by-a-key", endpoint.secret);
  const person = hub.person("telegram");
  await person.writes("while the key works");
  await program.has("by-a-key", "it was received", (received) => received.length === 1);
  await hub.admin.apiKeys.revoke(key.api_key_id);
  await person.writes("after the key");
  // Otherwise its event may come after the endpoint is enabled again.
  await hub.settled();
  const disabled = await until("the endpoint is disabled", async () => {
    const now = await hub.admin.webhookEndpoints.get(id);
    return now.status === "disabled" && now;
  });
  assert.equal(disabled.disabled_reason, "maker_lost_access");
  const enabled = await hub.admin.webhookEndpoints.change(id, { status: "enabled" });
  assert.deepEqual([enabled.status, enabled.made_by_key_id], ["enabled", null]);
  await person.writes("after the admin enabled it");
  const received = await program.has("by-a-key", "it was sent again", (all) => all.length === 2);
  assert.deepEqual(textsOf(received, "message.received"), ["while the key works", "after the admin enabled it"]);
  await hub.admin.webhookEndpoints.remove(id);
});

test("private IP addresses, other roles, other workspaces and too many endpoints are refused", async () => {
  const { webhook_endpoint_id: id } = await connect("mine", { events: ["message.failed"] });
  const agent = await hub.user("agent");
  await refused(agent.client.webhookEndpoints.list(), "FORBIDDEN");
  const readOnly = await hub.admin.apiKeys.create({ name: "reads", scopes: ["webhook-endpoints:read"] });
  const limited = hub.clientFor(readOnly.key);
  assert.equal((await limited.webhookEndpoints.list()).data[0]!.webhook_endpoint_id, id);
  await refused(limited.webhookEndpoints.test(id), "FORBIDDEN");
  for (const url of [
    "ftp://example.com/",
    "https://user:password@example.com/",
    "https://example.com:22/",
    "nothing",
  ]) {
    await refused(hub.client.webhookEndpoints.create({ url, events: ["*"] }), "VALIDATION_ERROR");
  }
  const secret = "whsec_dG9vIHNob3J0";
  await refused(
    hub.client.webhookEndpoints.create({ url: program.urlOf("x"), events: ["*"], secret }),
    "VALIDATION_ERROR",
  );
  await refused(
    hub.client.webhookEndpoints.create({ url: program.urlOf("x"), events: ["message.lost" as WebhookEvent] }),
    "VALIDATION_ERROR",
  );
  const username = `other-${Date.now()}`;
  const password = "a password for tests";
  await hub.admin.workspaces.create({ name: "Other", admin: { username, email: `${username}@example.com`, password } });
  const { access_token } = await hub.admin.auth.logIn({ username, password });
  const { key } = await hub.clientFor(access_token).apiKeys.create({ name: "stranger", scopes: ["*"] });
  const stranger = hub.clientFor(key);
  assert.deepEqual((await stranger.webhookEndpoints.list()).data, []);
  await refused(stranger.webhookEndpoints.get(id), "RESOURCE_NOT_FOUND");
  await refused(stranger.webhookEndpoints.attempts(id), "RESOURCE_NOT_FOUND");
  await refused(stranger.webhookEndpoints.remove(id), "RESOURCE_NOT_FOUND");
  const { secret: theirs } = await stranger.webhookEndpoints.create({ url: program.urlOf("theirs"), events: ["*"] });
  await program.behave("theirs", theirs);
  const everything = await connect("everything");
  await say("not for strangers");
  await program.has("everything", "ours was received", (all) => textsOf(all).length === 1);
  assert.deepEqual(await program.received("theirs"), []);
  await hub.client.webhookEndpoints.remove(everything.webhook_endpoint_id);
  for (let made = 1; made < 50; made += 1) {
    await stranger.webhookEndpoints.create({ url: program.urlOf(`many-${made}`), events: ["message.failed"] });
  }
  await refused(stranger.webhookEndpoints.create({ url: program.urlOf("more"), events: ["*"] }), "CONFLICT");
});

async function refused(call: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.code, code);
    return true;
  });
}
