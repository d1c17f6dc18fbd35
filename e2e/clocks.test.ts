import assert from "node:assert/strict";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { loadConfig } from "../server/src/config/config.ts";
import { startHub } from "../server/src/hub.ts";
import { type Clock, systemClock } from "../server/src/lib/clock.ts";
import { until } from "../server/src/testing/until.ts";
import { checkAnswersOf } from "./src/checked-answers.ts";
import {
  adminPassword,
  noLimits,
  openTestLog,
  quickRetries,
  sharedSecrets,
  startTestHub,
  type TestHub,
} from "./src/harness.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, observe } from "./src/observe.ts";

const minute = 60_000;
/** How far a machine's clock is off in each phase: every phase is a step back or forward from the one before. */
const settings = [-40_000, -60 * minute, 0, 60 * minute, 0];
/** Much less than any of the steps, so that a message that waits for the clock to catch up is too late. */
const withinMs = 20_000;

/** A second hub, on a machine whose clock the test sets. */
async function startHubBeside(hub: TestHub) {
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const config = loadConfig(
    {
      ...{ ...quickRetries, ...noLimits, ...sharedSecrets, PORT: "0", ADMIN_PASSWORD: adminPassword },
      ...{ DATABASE_URL: hub.databaseUrl, SIMULATOR_URL: hub.simulator.url },
    },
    { envFile: null },
  );
  const other = await startHub({ config, log: openTestLog().logger, clock, onFailed: assert.fail });
  checkAnswersOf(other.url!);
  return {
    url: other.url!,
    set: (ms: number) => {
      aheadMs = ms;
    },
    close: () => other.close(),
    [Symbol.asyncDispose]: () => other.close(),
  };
}

test("delivery continues without a pause while the clock of one of two hubs is set back and forward", async () => {
  await using hub = await startTestHub();
  await using beside = await startHubBeside(hub);
  const { key: token } = await hub.admin.apiKeys.create({ name: "program", scopes: ["*"] });
  let turn = 0;
  const client = openClient({
    url: hub.url,
    credential: { token },
    fetch: (input, init) => fetch(turn++ % 2 ? String(input).replace(hub.url, beside.url) : String(input), init),
  });
  const load = openLoad(client);
  const people = Array.from({ length: 8 }, (_, index) => hub.person(index % 2 ? "whatsapp" : "telegram"));
  const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
  const senders = talks.map((talk) => load.sender(talk, "background", { pauseMs: 20 }));

  try {
    for (const [step, aheadMs] of settings.entries()) {
      beside.set(aheadMs);
      const sent = await Promise.all(
        talks.map(async (talk) => {
          const text = `step ${step}`;
          const body = { conversation_id: talk.conversationId, payload: { type: "text" as const, text } };
          const { message_id, seq } = await client.messages.send(body);
          load.note(talk, message_id, text, seq);
          return message_id;
        }),
      );
      for (const messageId of sent) {
        await until(
          `a message is sent while a clock is ${aheadMs} ms off`,
          async () => ["sent", "delivered", "read"].includes((await hub.client.messages.get(messageId)).status),
          withinMs,
        );
      }
      // Each hub accepts tokens of the other, although their clocks differ.
      for (const [from, at] of [
        [beside.url, hub.url],
        [hub.url, beside.url],
      ] as const) {
        const { access_token } = await logIn(from);
        const answer = await fetch(`${at}/v1/me`, { headers: { authorization: `Bearer ${access_token}` } });
        assert.equal(answer.status, 200, `a token of the hub whose clock is ${aheadMs} ms off`);
      }
    }
  } finally {
    load.stop();
    await Promise.allSettled(senders);
  }
  await Promise.all(senders);
  await hub.settled(60_000);
  const conversationIds = talks.map(({ conversationId }) => conversationId);
  const { client: direct, simulator } = hub;
  assertFine(await observe({ client: direct, simulator, conversationIds, checker: load.checker }));
});

test("deliveries that a hub with a wrong clock postponed are not late when that hub is gone", async () => {
  await using hub = await startTestHub({ env: { ROLES: "api" } });
  const person = hub.person("whatsapp");
  const beside = await startHubBeside(hub);
  beside.set(60 * minute);
  await hub.simulator.break({ channel: "whatsapp", fault: "server_error", probability: 1 });
  const { message_id } = await hub.client.messages.send({ to: person.address, payload: { type: "text", text: "oi" } });
  await until("it was tried and put off", async () => {
    return (await hub.client.messages.get(message_id)).deliveries.some(({ attempts }) => attempts >= 2);
  });
  await beside.close();
  await hub.simulator.repair();
  await using sound = await startHubBeside(hub);
  assert.ok(sound.url);
  await hub.status(message_id, "read", withinMs);
});

async function logIn(url: string): Promise<{ access_token: string }> {
  const answer = await fetch(`${url}/auth/token`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "admin", password: adminPassword }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()) as { access_token: string };
}
