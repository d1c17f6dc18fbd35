import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pool } from "../server/src/lib/postgres.ts";
import { openPool } from "../server/src/lib/postgres.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

const text = (words: string) => ({ type: "text" as const, text: words });
type Readiness = { status: string; troubles: { part: string; code: string; is_stalled: boolean }[] };
const givenUp = /a record was given up|could not be stored/;

/** The owner's connection, for breaking things on purpose. */
function openOwner(hub: TestHub): Pool & { end(): Promise<void> } {
  const log = { info() {}, warn() {}, error() {} };
  return openPool({ url: hub.databaseUrl, size: 1, applicationName: "test", log });
}

async function failInbound(owner: Pool, sqlState: string) {
  // A row, because removing the trigger could deadlock with the statements that it stops.
  await owner.query(
    `CREATE TABLE failing AS SELECT true AS is_failing;
     CREATE FUNCTION fail_on_purpose() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
     BEGIN
       IF (SELECT is_failing FROM failing) THEN RAISE EXCEPTION 'on purpose' USING ERRCODE = '${sqlState}'; END IF;
       RETURN NEW;
     END $$;
     CREATE TRIGGER fail_on_purpose BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.direction = 'inbound')
     EXECUTE FUNCTION fail_on_purpose()`,
  );
  return () => owner.query("DELETE FROM failing");
}

test("a webhook that cannot be read is a dead letter, and its message arrives after a replay", async () => {
  await using hub = await startTestHub({ expectedErrors: givenUp });
  const owner = openOwner(hub);
  const repair = await failInbound(owner, "22003");
  const ana = hub.person("telegram");
  await ana.writes("Is anyone there?");
  const [letter] = await until("it is a dead letter", async () => {
    const { data } = await hub.client.deadLetters.list({ code: "RECEIVE_FAILED" });
    return data.length > 0 && data;
  });
  assert.ok(letter?.kind === "webhook");
  assert.deepEqual([letter.channel, letter.status, letter.error.code], ["telegram", "failed", "RECEIVE_FAILED"]);
  assert.doesNotMatch(JSON.stringify(letter), /anyone/);
  await repair();
  await owner.end();
  assert.deepEqual(await hub.client.deadLetters.replay(letter.webhook_id), { replayed: 1 });
  await until("the message is there", async () => {
    const [chat] = (await hub.client.conversations.list()).data;
    return chat && (await hub.client.conversations.messages(chat.conversation_id)).data.length === 1;
  });
  assert.deepEqual((await hub.client.deadLetters.list()).data, []);
});

test("readyz and the metrics name a waiting step, with its error code, until it works again", async () => {
  await using hub = await startTestHub();
  const owner = openOwner(hub);
  const repair = await failInbound(owner, "53100");
  await hub.person("telegram").writes("oi");
  const readiness = async () => {
    const answer = await fetch(`${hub.url}/readyz`);
    return { status: answer.status, body: (await answer.json()) as Readiness };
  };
  const stalled = await until("it is not ready", async () => {
    const { status, body } = await readiness();
    return status === 503 && body;
  });
  assert.equal(stalled.status, "unavailable");
  const trouble = stalled.troubles[0]!;
  assert.deepEqual([trouble.part, trouble.code, trouble.is_stalled], ["receive inbound", "53100", true]);
  const metrics = async () => (await fetch(`${hub.url}/metrics`)).text();
  const labels = 'part="receive inbound",code="53100"';
  const shown = await metrics();
  assert.match(shown, new RegExp(`^chat4all_part_trouble_seconds\\{${labels}\\} [\\d.]+$`, "m"));
  await repair();
  await owner.end();
  await until("it is ready again", async () => (await readiness()).status === 200);
  await until("the message is there", async () => (await hub.client.conversations.list()).data.length === 1);
  const lines = hub.log.lines.filter((line) => line.includes("fails and tries again"));
  assert.equal(lines.length, 1, "one line, and not one for each retry");
  const after = await metrics();
  assert.doesNotMatch(after, /^chat4all_part_trouble_seconds\{/m);
  assert.match(after, new RegExp(`^chat4all_part_failures_total\\{${labels}\\} [1-9]`, "m"), "it is still counted");
});

// Once a person got a message twice: over the channel that had failed, and over the fallback.
test("a delivery that a fallback replaced is no dead letter, and no replay sends it again", async () => {
  await using hub = await startTestHub();
  const [first, second] = [hub.person("whatsapp"), hub.person("telegram")];
  await hub.client.contacts.create({ display_name: "Ana", addresses: [first.address, second.address] });
  await first.writes("oi");
  await hub.settled();
  await hub.simulator.break({ channel: "whatsapp", fault: "permanent", to: first.identifier, count: 1 });
  const { message_id } = await hub.client.messages.send({
    to: first.address,
    payload: text("Your parcel is here."),
    fallback: { order: ["whatsapp", "telegram"] },
  });
  await second.receives(1);
  await hub.settled();
  const { deliveries } = await hub.client.messages.get(message_id);
  assert.deepEqual(deliveries.map(({ channel, status }) => [channel, status]).toSorted(), [
    ["telegram", "sent"],
    ["whatsapp", "failed"],
  ]);
  assert.deepEqual((await hub.client.deadLetters.list()).data, []);
  assert.deepEqual(await hub.client.deadLetters.replayAll({ all: true }), {
    replayed: 0,
    dry_run: false,
    matching: [],
  });
  await hub.settled();
  assert.deepEqual(await first.texts(), []);
});

test("a delivery whose fallback is not routed yet is no dead letter either, and is one if there is no other channel", async () => {
  await using hub = await startTestHub({ env: { DELIVERY_TIMEOUT: "20s" } });
  const [first, second] = [hub.person("whatsapp"), hub.person("telegram")];
  const addresses = [first.address, second.address];
  const { contact_id } = await hub.client.contacts.create({ display_name: "Ana", addresses });
  await first.writes("oi");
  await hub.settled();
  await hub.simulator.settings("whatsapp", { latency_ms: 2_000 });

  /** Sends a message that its first channel will refuse; resolves with its id during the attempt. */
  async function sendRefused(): Promise<string> {
    await hub.simulator.break({ channel: "whatsapp", fault: "permanent", to: first.identifier, count: 1 });
    const fallback = { order: ["whatsapp", "telegram"] };
    const { message_id } = await hub.client.messages.send({ to: first.address, payload: text("Hi"), fallback });
    await until("the first attempt is under way", async () => (await deliveryOf(message_id))?.attempts === 1);
    return message_id;
  }
  const deliveryOf = async (messageId: string) => (await hub.client.messages.get(messageId)).deliveries[0];

  const refused = await sendRefused();
  const owner = openOwner(hub);
  const router = await owner.connect();
  // It cannot route the fallback.
  await router.query("BEGIN; LOCK TABLE lanes IN ACCESS EXCLUSIVE MODE");
  await until("it is refused", async () => {
    const { data } = await hub.client.deadLetters.list();
    assert.deepEqual(data, []);
    return (await deliveryOf(refused))!.status === "failed";
  });
  await until("its fallback waits for the router", async () => {
    const { rows } = await hub.db.query("SELECT fallback_at FROM deliveries WHERE message_id = $1", [refused]);
    return rows[0].fallback_at === null;
  });
  const { replayed } = await hub.client.deadLetters.replayAll({ all: true });
  assert.equal(replayed, 0);
  await router.query("ROLLBACK");
  router.release();
  await owner.end();
  await hub.settled();
  assert.deepEqual([await first.texts(), await second.texts()], [[], ["Hi"]]);
  assert.deepEqual((await hub.client.deadLetters.list()).data, []);

  const lost = await sendRefused();
  const { access_token } = await hub.logIn("admin");
  const path = `/v1/contacts/${contact_id}/addresses/${encodeURIComponent(second.address)}`;
  await hub.call("DELETE", path, access_token);
  await until("it is a dead letter", async () => {
    const { data } = await hub.client.deadLetters.list();
    return data.some((letter) => letter.kind === "delivery" && letter.message_id === lost);
  });
});
