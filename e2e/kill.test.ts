import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "../client/src/client.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openPlatforms } from "./src/harness.ts";
import { openHubPlace, programOf, startHubProcess } from "./src/hub-place.ts";
import { type Load, openLoad, openTalk, type Talk } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { killAll, noneLeftIn, postgresIn, processesIn, withoutProc } from "./src/processes.ts";
import { openSimulatorClient, type SimulatorClient } from "./src/simulator-client.ts";

const hubKills = 20;
const databaseKills = 5;
/** How long a pause between two messages of a sender is: load enough, and no more than can be checked. */
const pauseMs = 4;

test(
  `${hubKills} times kill -9 of the hub under load: nothing accepted is lost, order is kept`,
  { skip: withoutProc },
  async (t) => {
    await using simulator = await startSimulator(openPlatforms);
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    const platforms = await impatient(simulator.url);
    let hub = await startHubProcess(place);
    const client = await programOf(place);
    const load = openLoad(client);
    const talks = await openTalks(client, load, platforms, 8);
    const senders = talks.flatMap((talk) => ["a", "b"].map((name) => load.sender(talk, name, { pauseMs })));

    for (let kill = 1; kill <= hubKills; kill += 1) {
      // Every fifth dies while it starts, the others at work: some as soon as they accept, some as soon as they deliver.
      if (kill % 5 === 0) await delay(100 * (kill / 5) + 200);
      else {
        await hub.ready;
        const [accepted, delivered] = [load.accepted(), await platforms.count()];
        const more = 10 + 5 * kill;
        const isAtWork = async () =>
          kill % 2 === 0 ? load.accepted() > accepted + more : (await platforms.count()) > delivered + more;
        await until(`the hub is at work before kill ${kill}`, isAtWork);
      }
      hub.kill("SIGKILL");
      await hub.ended;
      hub = place.spawn();
    }
    await hub.ready;
    load.stop();
    await Promise.all(senders);
    await assertNothingLost(t, client, load, platforms, talks);
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    await noneLeftIn(place.folder, 1_000);
  },
);

test(
  `${databaseKills} times kill -9 of PostgreSQL, backends included, under load: the hub brings it back and loses nothing`,
  { skip: withoutProc },
  async (t) => {
    await using simulator = await startSimulator(openPlatforms);
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    const platforms = await impatient(simulator.url);
    const hub = await startHubProcess(place);
    const client = await programOf(place);
    const load = openLoad(client);
    const talks = await openTalks(client, load, platforms, 8);
    const senders = talks.flatMap((talk) => ["a", "b"].map((name) => load.sender(talk, name, { pauseMs })));

    for (let kill = 1; kill <= databaseKills; kill += 1) {
      const [accepted, delivered] = [load.accepted(), await platforms.count()];
      await until(`it is at work before kill ${kill}`, async () => {
        return load.accepted() > accepted + 20 && (await platforms.count()) > delivered + 20;
      });
      const postgres = postgresIn(place.dataDir);
      assert.ok(postgres.length > 3);
      killAll(postgres);
    }
    const accepted = load.accepted();
    await until("it is at work again", () => load.accepted() > accepted + 20);
    load.stop();
    await Promise.all(senders);
    await assertNothingLost(t, client, load, platforms, talks);
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    await noneLeftIn(place.folder, 1_000);
  },
);

// As in a power failure, hub, database and platforms die at once. The platforms keep a journal.
test(
  "after kill -9 of everything during 2,000 sends, a start delivers all that got a 202, in order",
  { skip: withoutProc },
  async (t) => {
    const simulatorPort = await freePort();
    await using place = await openHubPlace({ SIMULATOR_PORT: String(simulatorPort) });
    const simulatorUrl = `http://127.0.0.1:${simulatorPort}`;
    await startHubProcess(place);
    let platforms = await impatient(simulatorUrl);
    const client = await programOf(place);
    const load = openLoad(client);
    const talks = await openTalks(client, load, platforms, 20);
    const senders = talks.map((talk) => load.sender(talk, "m", { count: 99 }));

    await until("half of it is accepted", () => load.accepted() >= 1_000);
    const victims = processesIn(place.folder);
    assert.ok(victims.length >= 5);
    killAll(victims);
    await noneLeftIn(place.folder);

    const hub = await startHubProcess(place);
    platforms = await impatient(simulatorUrl);
    await Promise.all(senders);
    assert.equal(load.accepted(), 2_000);
    await assertNothingLost(t, client, load, platforms, talks);
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    await noneLeftIn(place.folder, 1_000);
  },
);

/** Platforms that do not wait for hours before they call a hub again that was away. */
async function impatient(simulatorUrl: string): Promise<SimulatorClient> {
  const platforms = openSimulatorClient(simulatorUrl);
  for (const channel of ["whatsapp", "telegram"]) await platforms.settings(channel, { time_factor: 1_000 });
  return platforms;
}

function openTalks(client: Client, load: Load, platforms: SimulatorClient, count: number): Promise<Talk[]> {
  const people = Array.from({ length: count }, (_, index) => {
    return openPerson(platforms, index % 2 ? "telegram" : "whatsapp", index, `Person ${index}`);
  });
  return Promise.all(people.map((person) => openTalk(client, load, person)));
}

async function assertNothingLost(
  t: TestContext,
  client: Client,
  load: Load,
  simulator: SimulatorClient,
  talks: Talk[],
): Promise<void> {
  const conversationIds = talks.map(({ conversationId }) => conversationId);
  await settledByApi(client, simulator, conversationIds);
  const report = await observe({ client, simulator, conversationIds, checker: load.checker });
  assertFine(report);
  t.diagnostic(JSON.stringify(report.counts));
  const { data: deadLetters } = await client.deadLetters.list();
  assert.deepEqual(deadLetters, []);
}
