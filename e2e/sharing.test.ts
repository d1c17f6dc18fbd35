import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { openClient } from "../client/src/client.ts";
import { connectors } from "../server/src/connectors/registry.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { topics } from "../server/src/topics.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms, sharedSecrets } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { noneLeftIn, withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

const takeoverMs = 5_000;
const consumed = [topics.messageProcessing, ...connectors.map(({ channel }) => topics.outgoing(channel))];

test(
  "of two hubs on one database, the second takes over within 5 s of a kill of the first, and no message is lost",
  { skip: withoutProc },
  async () => {
    await using database = await createTestDatabase();
    await using simulator = await startSimulator(openPlatforms);
    const platforms = openSimulatorClient(simulator.url);
    for (const { channel } of connectors) await platforms.settings(channel, { time_factor: 1_000 });
    // The lease is the one that operators have.
    const env = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url, BUS_LEASE: "4s" };
    await using first = await openHubPlace(env);
    await using second = await openHubPlace(env);
    const doomed = await startHubProcess(first);
    const survivor = await startHubProcess(second);
    await using db = await openDatabase(database.url);
    const shares = async () => {
      const { rows } = await db.client.query<{ owners: string }>(
        `SELECT count(DISTINCT owner) AS owners FROM bus_cursors
       WHERE topic = ANY ($1) AND lease_expires_at > now() GROUP BY topic`,
        [consumed],
      );
      return rows.map(({ owners }) => Number(owners));
    };
    await until("both own partitions of every topic", async () => {
      const owners = await shares();
      return owners.length === consumed.length && owners.every((count) => count === 2);
    });

    const admin = openClient({ url: second.url, credential: { username: "admin", password: adminPassword } });
    const { key: token } = await admin.apiKeys.create({ name: "program", scopes: ["*"] });
    // Either takes requests; what is sent to the doomed one is tried again at the survivor.
    let isDoomedAlive = true;
    let turn = 0;
    const client = openClient({
      url: second.url,
      credential: { token },
      fetch: (input, init) => {
        turn += 1;
        const url = isDoomedAlive && turn % 2 ? String(input).replace(second.url, first.url) : String(input);
        return fetch(url, init);
      },
    });
    const load = openLoad(client);
    const people = Array.from({ length: 16 }, (_, index) => {
      return openPerson(platforms, connectors[index % connectors.length]!.channel, index, `Person ${index}`);
    });
    const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
    const senders = talks.map((talk) => load.sender(talk, "m", { count: 40, pauseMs: 5 }));
    await until("a third is accepted", () => load.accepted() > 200);

    doomed.kill("SIGKILL");
    await doomed.ended;
    isDoomedAlive = false;
    await until(
      "the survivor owns all partitions",
      async () => {
        const { rows } = await db.client.query<{ owners: string; foreign: string }>(
          `SELECT count(DISTINCT owner) AS owners, count(*) FILTER (WHERE lease_expires_at < now() OR owner IS NULL) AS foreign
         FROM bus_cursors WHERE topic = ANY ($1) GROUP BY topic`,
          [consumed],
        );
        return rows.every(({ owners, foreign }) => Number(owners) === 1 && Number(foreign) === 0);
      },
      takeoverMs,
    );
    await Promise.all(senders);
    const conversationIds = talks.map(({ conversationId }) => conversationId);
    await settledByApi(client, platforms, conversationIds);
    assertFine(await observe({ client, simulator: platforms, conversationIds, checker: load.checker }));

    survivor.kill("SIGTERM");
    assert.deepEqual(await survivor.ended, { code: 0, signal: null });
    await noneLeftIn(second.folder, 1_000);
  },
);

async function openDatabase(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return { client, [Symbol.asyncDispose]: () => client.end() };
}
