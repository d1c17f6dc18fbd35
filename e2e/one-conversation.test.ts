/**
 * The disaster: several processes accept messages of one conversation, one of them loses its leases without noticing, and
 * someone gets the messages in another order, twice, or not at all.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Client, openClient } from "../client/src/client.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { topics } from "../server/src/topics.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openPlatforms, sharedSecrets } from "./src/harness.ts";
import { type HubPlace, openHubPlace, programTokenOf, startHubProcess } from "./src/hub-place.ts";
import { openLoad } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

/** So many lanes that each process owns some. */
const peopleOnEachChannel = 3;
const channels = ["whatsapp", "telegram"];
const senders = ["a", "b", "c", "d"];
const pauseMs = 10;
/** Messages between two disasters. */
const some = 25;

for (const [what, env] of [
  ["two processes", [{}, {}]],
  ["three processes, of which one leaves routing to the step,", [{}, { FUSE: "off" }, {}]],
] as const) {
  test(
    `${what} accept for one conversation, one is suspended and another killed: everyone gets all messages in order`,
    { skip: withoutProc },
    async (t) => t.diagnostic(JSON.stringify(await survive(env))),
  );
}

async function survive(settings: readonly Record<string, string>[]) {
  await using database = await createTestDatabase();
  await using simulator = await startSimulator(openPlatforms);
  const platforms = openSimulatorClient(simulator.url);
  for (const channel of channels) await platforms.settings(channel, { time_factor: 1_000 });
  await using stack = new AsyncDisposableStack();
  const db = stack.adopt(createClient({ url: database.url, applicationName: "test" }), (one) => one.end());
  await db.connect();
  const hubs: { place: HubPlace; hub: Awaited<ReturnType<typeof startHubProcess>>; isTaking: boolean }[] = [];
  for (const env of settings) {
    const shared = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
    const place = stack.use(await openHubPlace({ ...shared, ...env }));
    hubs.push({ place, hub: await startHubProcess(place), isTaking: true });
  }
  const owners = (count: number) =>
    until(`${count} processes share the partitions`, async () => {
      const { rows } = await db.query(
        `SELECT count(DISTINCT owner)::int AS owners, bool_and(lease_expires_at > now()) AS are_owned FROM bus_cursors
         WHERE topic = ANY ($1) GROUP BY topic`,
        [[topics.messageProcessing, ...channels.map(topics.outgoing)]],
      );
      return rows.length > channels.length && rows.every((row) => row.are_owned && row.owners === count);
    });
  await owners(hubs.length);

  const client = await clientOf(hubs);
  const load = openLoad(client);
  const people = channels.flatMap((channel) =>
    Array.from({ length: peopleOnEachChannel }, (_, index) => openPerson(platforms, channel, index, `Person ${index}`)),
  );
  const members = people.map(({ address, name }) => ({ address, display_name: name }));
  const { conversation_id: conversationId } = await client.conversations.create({ type: "group", members });
  const talking = senders.map((name) => load.sender({ conversationId, people }, name, { pauseMs }));
  const more = async () => {
    const [accepted, sent] = [load.accepted(), await platforms.count()];
    await until("more messages are accepted and sent", async () => {
      return load.accepted() > accepted + some && (await platforms.count()) > sent + some * people.length;
    });
  };
  await more();

  // The platforms call the last one.
  const [doomed, suspended] = [hubs[0]!, hubs.at(-1)!];
  suspended.isTaking = false;
  suspended.hub.kill("SIGSTOP");
  await owners(hubs.length - 1);
  await more();
  suspended.hub.kill("SIGCONT");
  suspended.isTaking = true;
  await owners(hubs.length);
  await more();
  doomed.isTaking = false;
  doomed.hub.kill("SIGKILL");
  await doomed.hub.ended;
  await owners(hubs.length - 1);
  await more();
  load.stop();
  await Promise.all(talking);

  await settledByApi(client, platforms, [conversationId]);
  const report = await observe({
    client,
    simulator: platforms,
    conversationIds: [conversationId],
    checker: load.checker,
  });
  assertFine(report);
  assert.deepEqual((await client.deadLetters.list()).data, []);
  return report.counts;
}

/** Calls one process after the other. */
async function clientOf(hubs: readonly { place: HubPlace; isTaking: boolean }[]): Promise<Client> {
  const [{ place }] = hubs as [(typeof hubs)[number]];
  let turn = 0;
  return openClient({
    url: place.url,
    credential: { token: await programTokenOf(place) },
    fetch: (input, init) => {
      const taking = hubs.filter(({ isTaking }) => isTaking);
      turn += 1;
      return fetch(String(input).replace(place.url, taking[turn % taking.length]!.place.url), init);
    },
  });
}
