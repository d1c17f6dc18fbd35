import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Client, Sent } from "../client/src/client.ts";
import { patient } from "../server/src/testing/patience.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openPlatforms, sharedSecrets } from "./src/harness.ts";
import { openHubPlace, programOf, startHubProcess } from "./src/hub-place.ts";
import { openPerson, type Person } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";
import { startWebhookProgram, type WebhookProgram } from "./src/webhook-program.ts";
import type { Received } from "./src/webhook-receiver.ts";

const kills = 5;
const people = 4;
const messagesEach = 60;
/** How long the program thinks about each event: something is always under way when the hub is killed. */
const thinkMs = 5;
/** From the death of one process to the moment when another has sent what that one was at. */
const takeoverMs = 10_000;

test(
  `${kills} times kill -9 of the hub: every event reaches its endpoints, signed, and in order at ordered endpoints`,
  { skip: withoutProc },
  async () => {
    await using simulator = await startSimulator(openPlatforms);
    await using program = await startWebhookProgram();
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    let hub = await startHubProcess(place);
    const client = await programOf(place);
    await connect(client, program, "ordered", true);
    await connect(client, program, "loose", false);
    const said: Sent[] = [];
    const talking = talkToAll(client, simulator.url, said);
    const all = people * messagesEach;
    for (let killed = 1; killed <= kills; killed += 1) {
      await until("some more were accepted", () => said.length >= (all * killed) / (kills + 1), 60_000);
      hub.kill("SIGKILL");
      await hub.ended;
      hub = await startHubProcess(place);
    }
    await talking;
    for (const name of ["ordered", "loose"]) {
      const received = await program.has(
        name,
        `all arrived at ${name}`,
        (received) => idsOf(received).length === all,
        60_000,
      );
      assert.ok(received.every((one) => one.isVerified));
      assert.deepEqual(idsOf(received).toSorted(), said.map((sent) => sent.message_id).toSorted());
    }
    assertOrdered(await program.received("ordered"));
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
  },
);

test(
  "of two hubs that share the endpoints, the second sends the open requests of the first within seconds of its kill",
  { skip: withoutProc },
  async () => {
    await using database = await createTestDatabase();
    await using simulator = await startSimulator(openPlatforms);
    await using program = await startWebhookProgram();
    const shared = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url, BUS_LEASE: "4s" };
    const env = { ...shared, WEBHOOKS_ALLOW_PRIVATE: "true" };
    await using first = await openHubPlace(env);
    await using second = await openHubPlace(env);
    const doomed = await startHubProcess(first);
    const survivor = await startHubProcess(second);
    const client = await programOf(second);
    await connect(client, program, "ordered", true);
    await connect(client, program, "loose", false);
    const said: Sent[] = [];
    const talking = talkToAll(client, simulator.url, said);
    const all = people * messagesEach;
    await until("a third was accepted", () => said.length >= all / 3, 60_000);
    doomed.kill("SIGKILL");
    await talking;
    for (const name of ["ordered", "loose"]) {
      const received = await program.has(
        name,
        `all arrived at ${name}`,
        (received) => idsOf(received).length === all,
        takeoverMs,
      );
      assert.ok(received.every((one) => one.isVerified));
    }
    assertOrdered(await program.received("ordered"));
    survivor.kill("SIGTERM");
    assert.deepEqual(await survivor.ended, { code: 0, signal: null });
  },
);

async function connect(client: Client, program: WebhookProgram, name: string, ordered: boolean): Promise<void> {
  const url = program.urlOf(name);
  const { secret } = await client.webhookEndpoints.create({ url, events: ["message.accepted"], ordered });
  await program.behave(name, secret, { kind: "slow", ms: thinkMs });
}

/** Resolves once all was said to all people; what was accepted so far is in `said`. */
async function talkToAll(client: Client, simulatorUrl: string, said: Sent[]): Promise<void> {
  const platforms = openSimulatorClient(simulatorUrl);
  const everyone = Array.from({ length: people }, (_, index) =>
    openPerson(platforms, "whatsapp", index, `Person ${index}`),
  );
  await Promise.all(everyone.map((person) => talk(client, person, said)));
}

/** Says so many things, one after the other, each again until it is accepted. */
async function talk(client: Client, person: Person, said: Sent[]): Promise<void> {
  for (let index = 0; index < messagesEach; index += 1) {
    const message = {
      message_id: randomUUID(),
      to: person.address,
      payload: { type: "text" as const, text: `${index}` },
    };
    for (let isAccepted = false; !isAccepted; ) {
      try {
        said.push(await client.messages.send(message, { signal: AbortSignal.timeout(patient(10_000)) }));
        isAccepted = true;
      } catch {
        await delay(30);
      }
    }
    await delay(10);
  }
}

function idsOf(received: readonly Received[]): unknown[] {
  return [...new Set(received.map((one) => one.data.message_id))];
}

/** In each conversation the events arrived in the order of `seq`; repeated ones one after the other. */
function assertOrdered(received: readonly Received[]): void {
  for (const [conversation, events] of Map.groupBy(received, (one) => one.data.conversation_id)) {
    const seqs = events.map((one) => Number(one.data.seq));
    assert.deepEqual(
      seqs,
      seqs.toSorted((a, b) => a - b),
      `conversation ${conversation}`,
    );
  }
}
