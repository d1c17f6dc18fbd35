/**
 * The disaster: one of several hub processes dies, or what they notify each other by is down, and a client misses an
 * event.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { type Client, openClient } from "../client/src/client.ts";
import { patient } from "../server/src/testing/patience.ts";
import { lacks } from "../server/src/testing/programs.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { startTestRedis, type TestRedis } from "../server/src/testing/test-redis.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { openChance } from "./src/chance.ts";
import { openFeedArchive } from "./src/feed-archive.ts";
import { checkStream } from "./src/feed-checker.ts";
import { adminPassword, openPlatforms, sharedSecrets } from "./src/harness.ts";
import { type HubPlace, openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { type Frame, type Listener, listen } from "./src/listener.ts";
import { settledByApi } from "./src/observe.ts";
import { withoutProc } from "./src/processes.ts";
import { openRoamer, type RoamerKind } from "./src/roamer.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

const kinds: readonly RoamerKind[] = ["address", "frame", "stream", "poller"];
const seesEverything = () => "always" as const;
/** From the death of a process: its users count as gone after so long without an announcement. */
const absentWithinMs = 30_000;

test(
  "over LISTEN/NOTIFY: no client misses an event when a hub is killed under load and LISTEN connections are lost",
  {
    skip: withoutProc,
  },
  () => survive(null),
);

test(
  "over Redis: no client misses an event when a hub is killed under load and Redis restarts",
  {
    skip: withoutProc || lacks("redis"),
  },
  async () => {
    await using redis = await startTestRedis();
    await survive(redis);
  },
);

async function survive(redis: TestRedis | null): Promise<void> {
  await using database = await createTestDatabase();
  await using simulator = await startSimulator(openPlatforms);
  const shared = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url };
  const env = redis === null ? shared : { ...shared, REDIS_URL: redis.url };
  await using first = await openHubPlace(env);
  await using second = await openHubPlace(env);
  const doomed = await startHubProcess(first);
  await startHubProcess(second);
  await using db = await connect(database.url);
  const admin = clientOf(second, "admin");
  const { key } = await admin.apiKeys.create({ name: "events", scopes: ["*"] });
  const client = openClient({ url: second.url, credential: { token: key } });
  await using people = await meet(admin, first, second);
  await crossProcesses(people, first, second);

  let isDoomedAlive = true;
  await using archive = await openFeedArchive(database.url, people.workspaceId);
  await using stack = new AsyncDisposableStack();
  const open = (kind: RoamerKind, url: () => string, seed: number) => {
    const away = () => delay(20);
    return stack.use(openRoamer({ url, token: key, kind, chance: openChance(seed), away }));
  };
  const lost = kinds.flatMap((kind, seed) => [
    open(kind, () => (isDoomedAlive ? first.url : second.url), seed),
    open(kind, () => (isDoomedAlive ? first.url : second.url), seed),
  ]);
  const kept = kinds
    .slice(0, 3)
    .flatMap((kind, seed) => [open(kind, () => second.url, seed), open(kind, () => second.url, seed)]);
  const staying = new AbortController();
  stack.defer(() => staying.abort());
  const stays = [...lost, ...kept].map((roamer) => roamer.stay(staying.signal));
  await until("all clients are connected", () => [...lost, ...kept].every((roamer) => roamer.start() !== null));

  let isTalking = true;
  const talking = talk(client, people.chat, () => isTalking);
  // Otherwise an error after the hubs have ended hides the failure below.
  stack.defer(() => {
    isTalking = false;
    return talking.catch(() => {});
  });
  await until("all clients have some events", () => [...lost, ...kept].every(({ received }) => received.length > 20));
  doomed.kill("SIGKILL");
  isDoomedAlive = false;
  await delay(500);
  if (redis === null) {
    const { rowCount } = await db.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'chat4all listen %'",
    );
    assert.ok(rowCount! >= 1, "no connection listens");
    await delay(1_000);
  } else {
    await redis.kill();
    await delay(1_000);
    await redis.start();
    await delay(1_000);
  }
  await until("the feed has grown", async () => {
    await archive.collect();
    return archive.events.length > 200;
  });
  isTalking = false;
  await talking;
  await settledByApi(client, openSimulatorClient(simulator.url), [people.chat]);

  const problems = () =>
    [...lost, ...kept].flatMap((roamer) => {
      const stream = { feed: archive.events, start: roamer.start()!, received: roamer.received, clearedUpTo: 0 };
      return checkStream({ ...stream, sees: seesEverything }).map((problem) => ({ ...problem, by: roamer.kind }));
    });
  await until("the feed has stopped and all clients have its last event", async () => {
    const before = archive.events.length;
    await delay(200);
    await archive.collect();
    return archive.events.length === before && problems().length === 0;
  }).catch(() => {});
  assert.deepEqual(problems().slice(0, 10), []);
  for (const roamer of kept) assert.equal(roamer.connections(), 1, `a ${roamer.kind} of the survivor was cut off`);
  for (const roamer of lost) if (roamer.kind !== "poller") assert.ok(roamer.connections() > 1);
  if (redis === null) {
    const isGone = isPresence(people.dora, false);
    await people.listenerAtSecond.frame("the absence of the user at the killed process", isGone, absentWithinMs);
  }
  staying.abort();
  await Promise.all(stays);
}

/** Two members of one conversation, one connected to each process. */
async function meet(admin: Client, first: HubPlace, second: HubPlace) {
  const make = async (name: string) => {
    const username = `${name}-${Math.trunc(performance.now())}`;
    const made = await admin.users.create({
      username,
      email: `${username}@example.com`,
      role: "member",
      password: adminPassword,
    });
    return { id: made.user_id, username };
  };
  const [bea, dora] = [await make("bea"), await make("dora")];
  const members = [bea.id, dora.id, { address: "whatsapp:+5511910000001", display_name: "Ana" }];
  const { conversation_id: chat } = await admin.conversations.create({ type: "group", title: "Tests", members });
  const { workspace_id } = (await admin.call<{ workspace_id: string }>("GET", "/v1/me")).body;
  const listenerAtSecond = await listen({ url: second.url, token: await logIn(second, bea.username) });
  const listenerAtFirst = await listen({ url: first.url, token: await logIn(first, dora.username) });
  return {
    chat,
    workspaceId: workspace_id,
    bea: bea.id,
    dora: dora.id,
    beaName: bea.username,
    listenerAtFirst,
    listenerAtSecond,
    async [Symbol.asyncDispose]() {
      listenerAtFirst.cut();
      listenerAtSecond.cut();
    },
  };
}

/** Clients of one process get presence, typing and logouts of the other. */
async function crossProcesses(
  people: {
    chat: string;
    bea: string;
    dora: string;
    beaName: string;
    listenerAtFirst: Listener;
    listenerAtSecond: Listener;
  },
  first: HubPlace,
  second: HubPlace,
): Promise<void> {
  const { chat, listenerAtFirst, listenerAtSecond } = people;
  await listenerAtSecond.frame("the user who connected to the other process", isPresence(people.dora, true));
  await listenerAtFirst.frame("the user who was online before", isPresence(people.bea, true));
  listenerAtFirst.say({ type: "typing", conversation_id: chat });
  await listenerAtSecond.frame("typing", ({ type, user_id }) => type === "TYPING" && user_id === people.dora);
  assert.ok(!listenerAtFirst.frames.some(({ type }) => type === "ERROR"));

  const token = await logIn(first, people.beaName);
  const leaving = await listen({ url: second.url, token });
  await fetch(`${first.url}/auth/logout`, { method: "POST", headers: { authorization: `Bearer ${token}` } });
  const began = performance.now();
  assert.equal((await leaving.closed).code, 4401);
  assert.ok(
    performance.now() - began < patient(2_000),
    "a logout at one process closes sockets at the other within 2 s",
  );
}

const isPresence = (userId: string, isOnline: boolean) => (frame: Frame) =>
  frame.type === "PRESENCE" && frame.user_id === userId && frame.online === isOnline;

async function logIn(place: HubPlace, username: string): Promise<string> {
  const body = JSON.stringify({ username, password: adminPassword });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${place.url}/auth/token`, { method: "POST", headers, body });
  return ((await answer.json()) as { access_token: string }).access_token;
}

function clientOf(place: HubPlace, username: string): Client {
  return openClient({ url: place.url, credential: { username, password: adminPassword } });
}

async function talk(client: Client, conversation_id: string, mayGoOn: () => boolean): Promise<void> {
  for (let index = 1; mayGoOn(); index += 1) {
    await client.messages.send({ conversation_id, payload: { type: "text", text: `${index}` } });
    await delay(15);
  }
}

async function connect(url: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return { query: (text: string) => client.query(text), [Symbol.asyncDispose]: () => client.end() };
}
