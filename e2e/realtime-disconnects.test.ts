/**
 * The disaster: a client whose connection breaks at the worst moment, one time in ten thousand, loses an event or gets one
 * twice. Every kind of client, every way for a connection to end, under load; then each stream is compared with the table.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { feedScopes } from "../contract/src/events.ts";
import { until } from "../server/src/testing/until.ts";
import { type Chance, openChance } from "./src/chance.ts";
import { type ArchivedEvent, openFeedArchive } from "./src/feed-archive.ts";
import { checkStream, type FeedProblem, type Sight } from "./src/feed-checker.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { endings, openRoamer, type Roamer, type RoamerKind } from "./src/roamer.ts";

const disconnects = 10_000;
const seed = 20_261;
/** How often events are deleted that all clients have but the laggards, which sometimes wait for that. */
const clearEveryMs = 1_000;
/** The end of the run ends the wait of a laggard: a slow machine deletes late. */
const longestMs = 300_000;
/** Between two rounds of changes. */
const roundMs = 150;
/**
 * While a client of all events is further behind the first one than this, in events, nothing new is written: on a slow
 * machine it would never catch up.
 */
const mostBehind = 600;

const kinds: readonly RoamerKind[] = ["address", "frame", "stream", "poller"];

interface RoamingClient {
  name: string;
  roamer: Roamer;
  sees: (event: ArchivedEvent) => Sight;
  isLaggard: boolean;
  /** It sees every event, and is no laggard. */
  seesAll: boolean;
}

test(`${disconnects} random disconnects under load: each client's stream is the feed, or has a gap where it is not`, async (t) => {
  await using hub = await startTestHub({ env: { LOG_LEVEL: "warn" } });
  const chance = openChance(seed);
  const places = await openPlaces(hub);
  const { workspaceId } = places;
  await using archive = await openFeedArchive(hub.databaseUrl, workspaceId);
  await using stack = new AsyncDisposableStack();
  const done = () => clients.reduce((sum, { roamer }) => sum + sumOf(roamer.counts), 0);
  // A client that fails ends all: the others would run forever.
  let isOver = false;
  stack.defer(() => {
    isOver = true;
  });
  const mayGoOn = () => !isOver && done() < disconnects;
  const clients = await openClients(hub, places, chance, (position) => archive.clearedUpTo() > position || !mayGoOn());
  for (const { roamer } of clients) stack.use(roamer);

  const began = performance.now();
  await Promise.all([
    ...clients.map(({ roamer }) => roamer.roam(mayGoOn)),
    write(hub, places, chance, mayGoOn, () => distance(clients) > mostBehind),
    clear(archive, hub, clients, mayGoOn),
  ]);
  const seconds = (performance.now() - began) / 1_000;
  await hub.settled();

  // All clients reconnect and stay. They are checked when the feed has stopped and all have its last event.
  const staying = new AbortController();
  stack.defer(() => staying.abort());
  const stays = clients.map(({ roamer }) => roamer.stay(staying.signal));
  const problemsOf = ({ roamer, sees }: RoamingClient): FeedProblem[] => {
    const start = roamer.start();
    assert.ok(start !== null);
    const { events: feed } = archive;
    return checkStream({
      feed,
      start,
      received: roamer.received,
      sees: sees as never,
      clearedUpTo: archive.clearedUpTo(),
    });
  };
  const report = () =>
    clients.flatMap((client) => {
      const problems = problemsOf(client);
      return problems.length === 0 ? [] : [{ name: client.name, count: problems.length, first: problems.slice(0, 5) }];
    });
  await until(
    "the feed has stopped and all clients have its last event",
    async () => {
      const before = archive.events.length;
      await archive.collect();
      return archive.events.length === before && report().length === 0;
    },
    120_000,
  ).catch(() => {});
  await delay(roundMs);
  await archive.collect();
  assert.deepEqual(report(), []);
  staying.abort();
  await Promise.all(stays);

  for (const { name, roamer, isLaggard } of clients) {
    // A laggard waits for deletions during most of a short run.
    assert.ok(roamer.received.length > (isLaggard ? 0 : 20), `${name} got ${roamer.received.length} events only`);
    if (isLaggard) assert.ok(roamer.gaps() > 0, `${name} got no gap`);
    else assert.equal(roamer.gaps(), 0, `${name} got a gap`);
  }
  const by = Object.fromEntries(
    endings.map((ending) => [ending, clients.reduce((sum, { roamer }) => sum + (roamer.counts.get(ending) ?? 0), 0)]),
  );
  for (const ending of endings) assert.ok(by[ending]! > disconnects / 50, `${ending}: ${by[ending]}`);
  const received = clients.reduce((sum, { roamer }) => sum + roamer.received.length, 0);
  const gaps = clients.reduce((sum, { roamer }) => sum + roamer.gaps(), 0);
  t.diagnostic(
    `${done()} disconnects of ${clients.length} clients in ${seconds.toFixed(1)} s (${JSON.stringify(by)}); ` +
      `${archive.events.length} events, received ${received} times, ${gaps} gaps, cleared up to ${archive.clearedUpTo()}`,
  );
});

type Places = Awaited<ReturnType<typeof openPlaces>>;

/** Four groups with members, and one that people join and leave all the time. */
async function openPlaces(hub: TestHub) {
  const groups = await Promise.all(
    Array.from({ length: 4 }, async (_, index) => {
      const members = await Promise.all([hub.user("member", `M${index}a`), hub.user("member", `M${index}b`)]);
      const ids = members.map(({ user_id }) => user_id);
      const people = [hub.person("whatsapp"), hub.person("telegram")];
      const { conversation_id: id } = await hub.group([...ids, ...people]);
      return { id, members };
    }),
  );
  const { conversation_id: restless } = await hub.group([
    hub.person("whatsapp"),
    hub.person("telegram"),
    hub.person("whatsapp"),
  ]);
  const { rows } = await hub.db.query<{ workspace_id: string }>("SELECT workspace_id FROM conversations LIMIT 1");
  return { groups, restless, workspaceId: rows[0]!.workspace_id };
}

async function openClients(
  hub: TestHub,
  places: Places,
  chance: Chance,
  isLeftBehind: (position: number) => boolean,
): Promise<RoamingClient[]> {
  const clients: RoamingClient[] = [];
  const all = () => "always" as const;
  const quickly = (random: Chance) => delay(random.below(60));
  const slowly = async (random: Chance, position: number) => {
    if (random.next() < 0.15) await until("what it has not read is deleted", () => isLeftBehind(position), longestMs);
    else await quickly(random);
  };
  const add = (name: string, token: string, sees: RoamingClient["sees"], kind: RoamerKind, isLaggard = false) => {
    const roamer = openRoamer({
      url: () => hub.url,
      token,
      kind,
      chance: openChance(chance.below(2 ** 31)),
      away: isLaggard ? slowly : quickly,
    });
    const seesAll = sees === all && !isLaggard;
    clients.push({ name: `${name} by ${kind}`, roamer, sees, isLaggard, seesAll });
  };
  const { access_token: admin } = await hub.logIn("admin");
  const agent = await hub.user("agent");
  const { access_token: agentToken } = await hub.logIn(agent.username);
  const { key } = await hub.admin.apiKeys.create({ name: "events", scopes: [...feedScopes] });
  for (const kind of kinds) {
    for (const token of [admin, admin, agentToken, agentToken, key]) add("agent", token, all, kind);
    add("laggard", admin, all, kind, true);
  }
  const restless = new Set([places.restless]);
  for (const [index, { id, members }] of places.groups.entries()) {
    for (const [which, { user_id, username }] of members.entries()) {
      const { access_token } = await hub.logIn(username);
      // The second member of the first three groups joins and leaves the other one.
      const sometimes = which === 1 && index < 3 ? restless : new Set<string>();
      const sees = seesOf(user_id, new Set([id]), sometimes);
      for (const kind of [kinds[index]!, kinds[(index + 1) % 4]!, "address", "frame"] as const) {
        add(`member ${index}${which}`, access_token, sees, kind);
      }
    }
  }
  return clients;
}

function seesOf(userId: string, always: ReadonlySet<string>, maybe: ReadonlySet<string>): RoamingClient["sees"] {
  return ({ conversationId, leftId }) => {
    if (leftId === userId) return "always";
    if (conversationId === null) return "never";
    return always.has(conversationId) ? "always" : maybe.has(conversationId) ? "maybe" : "never";
  };
}

/** Messages, statuses, changed titles, new conversations, and people who join and leave, as fast as the clients follow. */
async function write(
  hub: TestHub,
  { groups, restless }: Places,
  chance: Chance,
  mayGoOn: () => boolean,
  mustWait: () => boolean,
): Promise<void> {
  const guests = groups.slice(0, 3).map(({ members }) => members[1]!.user_id);
  const isIn = new Set<string>();
  const { conversations, messages } = hub.client;
  const say = (conversation_id: string, text: string) =>
    messages.send({ conversation_id, payload: { type: "text", text } });
  for (let round = 1; mayGoOn(); round += 1) {
    while (mustWait() && mayGoOn()) await delay(roundMs);
    const guest = chance.of(guests);
    const comesOrGoes = async () => {
      if (isIn.delete(guest)) await conversations.removeMember(restless, guest);
      else {
        isIn.add(guest);
        await conversations.addMember(restless, guest);
      }
    };
    const { id } = chance.of(groups);
    const some = [say(id, `round ${round}`), say(id, `and ${round}`), say(restless, `here ${round}`), comesOrGoes()];
    if (round % 5 === 0) some.push(conversations.change(chance.of(groups).id, { title: `Round ${round}` }) as never);
    if (round % 7 === 0) {
      const { address } = hub.person("whatsapp");
      some.push(messages.send({ to: address, payload: { type: "text", text: "new" } }));
    }
    await Promise.all([...some, delay(roundMs)]);
  }
}

/**
 * How far the last agent is behind the first. Members do not count: a member stands at its own last event, so that a
 * quiet conversation would count as a slow client, and get no new event because of it.
 */
function distance(clients: readonly RoamingClient[]): number {
  const positions = clients.filter(({ seesAll }) => seesAll).map(({ roamer }) => roamer.position());
  return Math.max(...positions) - Math.min(...positions);
}

type Archive = Awaited<ReturnType<typeof openFeedArchive>>;

async function clear(
  archive: Archive,
  hub: TestHub,
  clients: readonly RoamingClient[],
  mayGoOn: () => boolean,
): Promise<void> {
  while (mayGoOn()) {
    const others = clients.filter(({ isLaggard }) => !isLaggard);
    await archive.clearBefore(hub.db, Math.min(...others.map(({ roamer }) => roamer.position())));
    await delay(clearEveryMs);
  }
}

function sumOf(counts: ReadonlyMap<unknown, number>): number {
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}
