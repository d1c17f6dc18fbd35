/** Prevents this: a token expires at night, and in the morning every message of the number is a dead letter. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openClient, type WebhookEvent } from "../client/src/client.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms, sharedSecrets, startTestHub, type TestHub } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { openPerson, type Person } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";
import { startWebhookProgram } from "./src/webhook-program.ts";

/** The credential that the platform accepts now; the field has the same name in the simulator and the hub. */
const newTokens: Readonly<Record<string, Record<string, string>>> = {
  whatsapp: { access_token: "EAAa-new-token" },
  telegram: { bot_token: "700000001:A-NEW-telegram-token-of-35-letters_" },
};

/** Long enough for the leases of a killed process to end and for its open attempts to be settled. */
const takeoverMs = 60_000;

const texts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`);

for (const channel of ["whatsapp", "telegram"]) {
  test(`${channel}: messages wait while the platform refuses the token, and are then sent in order`, async () => {
    await using hub = await startTestHub({ env: { DELIVERY_TIMEOUT: "10s" } });
    const { channel_account_id: accountId } = await hub.account(channel);
    const people = ["Ana", "Bea", "Caio"].map((name) => hub.person(channel, name));
    await say(hub, people, texts(1, 2));
    await hub.settled();

    await hub.simulator.changeAccount(channel, newTokens[channel]!);
    const waiting = await say(hub, people, texts(3, 6));
    const account = await needsAttention(hub, accountId);
    assert.equal(account.attention?.reason, "CREDENTIALS_INVALID");
    assert.match(account.attention.detail, /190|401/);
    assert.ok(Date.parse(account.attention.since) > Date.parse(account.created_at));
    const shown = await until("the messages say why they wait", async () => {
      const messages = await Promise.all(waiting.map((id) => hub.client.messages.get(id)));
      const codes = messages.map(({ deliveries }) => deliveries[0]?.error?.code);
      return codes.every((code) => code === "CHANNEL_ACCOUNT_NEEDS_ATTENTION") && messages;
    });
    assert.ok(shown.every(({ status }) => status === "accepted" || status === "in_transit"));
    // At most the first delivery of each lane was refused: no other was attempted.
    assert.ok(shown.flatMap(({ deliveries }) => deliveries).reduce((sum, { attempts }) => sum + attempts, 0) <= 3);
    assert.equal((await hub.client.deadLetters.list()).data.length, 0);
    await people[0]!.writes("Are you there?");
    await until("what people write arrives", async () =>
      (await hub.events("0")).some(({ direction }) => direction === "inbound"),
    );
    const send = { to: people[0]!.address, payload: { type: "text", text: "x" } };
    const { access_token } = await hub.logIn("admin");
    const { recipients } = await hub.call("POST", "/v1/messages/preflight", access_token, send);
    assert.partialDeepStrictEqual(recipients, [{ can_send: false, reason: "CHANNEL_ACCOUNT_NEEDS_ATTENTION" }]);
    const health = await hub.client.channelAccounts.health(accountId);
    assert.partialDeepStrictEqual(health, { status: "needs_attention", breaker: "closed", pending: 12 });
    const ready = await hub.call("GET", "/readyz", null);
    assert.equal(ready.status, "ready");
    assert.ok(ready.warnings.some(({ setting }: { setting: string }) => setting === "channel_accounts"));

    const refused = await hub.client.channelAccounts.verify(accountId);
    assert.equal(refused.ok, false);
    await assert.rejects(hub.client.channelAccounts.change(accountId, { status: "active" }), {
      code: "CHANNEL_CREDENTIALS_INVALID",
    });
    assert.equal((await hub.client.channelAccounts.get(accountId)).status, "needs_attention");
    const mended = await hub.client.channelAccounts.change(accountId, { credentials: newTokens[channel]! });
    assert.deepEqual([mended.status, mended.attention], ["active", null]);
    await hub.settled(takeoverMs);
    for (const person of people) assert.deepEqual(await person.texts(), texts(1, 6));
    const names = (await hub.events("0")).filter(({ type }) => type === "CHANNEL_ACCOUNT").map(({ status }) => status);
    assert.deepEqual(names, ["needs_attention", "active"]);
    assert.equal((await hub.client.deadLetters.list()).data.length, 0);
  });
}

test(
  "with two hubs, one of which is killed, both channels continue where they stopped, and a webhook reports both",
  { skip: withoutProc },
  async () => {
    await using database = await createTestDatabase();
    await using simulator = await startSimulator(openPlatforms);
    await using program = await startWebhookProgram();
    const shared = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
    // On a slow machine responses and leases take longer: a message whose response or lease is lost is sent twice.
    const env = { ...shared, WEBHOOKS_ALLOW_PRIVATE: "true", DELIVERY_TIMEOUT: "10s", BUS_LEASE: "10s" };
    await using first = await openHubPlace(env);
    await using second = await openHubPlace(env);
    const doomed = await startHubProcess(first);
    await startHubProcess(second);
    const admin = openClient({ url: second.url, credential: { username: "admin", password: adminPassword } });
    const { key: token } = await admin.apiKeys.create({ name: "program", scopes: ["*"] });
    const client = openClient({ url: second.url, credential: { token } });
    const events: WebhookEvent[] = ["channel_account.needs_attention", "channel_account.active"];
    const { secret } = await client.webhookEndpoints.create({ url: program.urlOf("hook"), events });
    await program.behave("hook", secret);
    const platforms = openSimulatorClient(simulator.url);
    const people = Object.keys(newTokens).flatMap((channel) =>
      [1, 2, 3].map((number) => openPerson(platforms, channel, number, `Person ${number}`)),
    );
    await say({ client }, people, texts(1, 2));
    for (const person of people) await person.receives(2, takeoverMs);
    const accounts = (await client.channelAccounts.list()).data;
    const oldBot = (await platforms.accounts()).find(({ channel }) => channel === "telegram")!;

    for (const [channel, fields] of Object.entries(newTokens)) await platforms.changeAccount(channel, fields);
    await say({ client }, people, texts(3, 5));
    for (const account of accounts) await needsAttention({ client }, account.channel_account_id);
    doomed.kill("SIGKILL");
    await doomed.ended;
    await say({ client }, people, texts(6, 7));
    await startHubProcess(first);
    await say({ client }, people, texts(8, 8));

    // One account gets a new token; the other's is accepted again, as after a mistake of the platform.
    for (const { channel, channel_account_id: id } of accounts) {
      if (channel === "whatsapp") await client.channelAccounts.change(id, { credentials: newTokens[channel]! });
      else {
        await platforms.changeAccount(channel, { bot_token: String(oldBot.bot_token) });
        assert.equal((await client.channelAccounts.verify(id)).ok, true);
      }
    }
    for (const person of people) await person.receives(8, takeoverMs);
    for (const person of people) assert.deepEqual(await person.texts(), texts(1, 8), person.address);
    assert.equal((await client.deadLetters.list()).data.length, 0);
    const received = await program.has("hook", "the events of both accounts", ({ length }) => length >= 4);
    for (const { channel_account_id: id } of accounts) {
      const types = received.filter(({ data }) => data.channel_account_id === id).map(({ type }) => type);
      assert.deepEqual(types.toSorted(), events.toSorted());
    }
  },
);

// Nothing else may be sent for hours: then the first message would find it out.
test("a refused token is noticed by verify and by a one-time code as well", async () => {
  await using hub = await startTestHub();
  const member = await hub.user("member");
  const found: string[] = [];
  for (const channel of ["whatsapp", "telegram"]) {
    const { channel_account_id: id } = await hub.account(channel);
    const old = (await hub.simulator.accounts()).find((account) => account.channel === channel)!;
    const right = Object.fromEntries(Object.keys(newTokens[channel]!).map((name) => [name, String(old[name])]));
    await hub.simulator.changeAccount(channel, newTokens[channel]!);
    assert.equal((await hub.client.channelAccounts.verify(id)).ok, false);
    found.push((await hub.client.channelAccounts.get(id)).status);
    await hub.simulator.changeAccount(channel, right);
    assert.equal((await hub.client.channelAccounts.verify(id)).ok, true);
    assert.equal((await hub.client.channelAccounts.get(id)).status, "active");
  }
  assert.deepEqual(found, ["needs_attention", "needs_attention"]);
  const { channel_account_id: bot } = await hub.account("telegram");
  await hub.simulator.changeAccount("telegram", newTokens.telegram!);
  await member.client.users.addAddress(member.user_id, hub.person("telegram").address);
  await needsAttention(hub, bot);
});

async function say(
  hub: { client: TestHub["client"] },
  people: readonly Person[],
  words: readonly string[],
): Promise<string[]> {
  const ids: string[] = [];
  for (const word of words) {
    for (const person of people) {
      ids.push(
        (await hub.client.messages.send({ to: person.address, payload: { type: "text", text: word } })).message_id,
      );
    }
  }
  return ids;
}

function needsAttention(hub: { client: TestHub["client"] }, accountId: string) {
  return until("the account needs attention", async () => {
    const account = await hub.client.channelAccounts.get(accountId);
    return account.status === "needs_attention" && account;
  });
}
