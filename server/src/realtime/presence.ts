import { randomUUID } from "node:crypto";
import { liveEvents } from "../../../contract/src/events.ts";
import { seesAllConversations } from "../credentials/credentials.ts";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { Log } from "../lib/postgres.ts";
import { all, type Db } from "../lib/query.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import type { Client } from "./client.ts";
import { type Frame, frameOf } from "./frames.ts";
import type { Audience, LiveFeed } from "./live-feed.ts";
import type { LiveFeeds } from "./live-feeds.ts";
import { OnlineUsers } from "./online-users.ts";

interface PresenceDeps {
  db: Db;
  fanout: Fanout;
  feeds: LiveFeeds;
  clock: Clock;
  log: Log;
}

/** Changes within this time are published together, in milliseconds. */
export const flushEveryMs = 100;
const failureWaitMs = 5_000;
/** How long a user stays online after the last client has disconnected: most reconnect at once. In milliseconds. */
const graceMs = 5_000;
/** Most users whose presence a new client gets, and whose presence all agents of a workspace get. */
const maxShown = 100;

/**
 * Publishes who is online: users with a client in any process. Members get the presence of users who share a
 * conversation with them, agents and admins that of all users, up to `maxShown`.
 */
export class Presence {
  readonly #deps: PresenceDeps;
  readonly #users: OnlineUsers;
  readonly #counts = new Map<string, number>();
  /** Clients that have not got the presence of others yet: they get it when they are live. */
  readonly #newcomers = new Set<Client>();
  /** Workspaces whose users may have come online or left since the last flush. */
  readonly #changed = new Set<string>();
  readonly #published = new WeakMap<LiveFeed, { online: ReadonlySet<string>; shown: ReadonlySet<string> }>();
  readonly #flushing: Repeated;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    const { fanout, clock, log } = deps;
    const onChange = (workspaceId: string) => void this.#changed.add(workspaceId);
    this.#users = new OnlineUsers({ self: randomUUID(), fanout, clock, log, onChange });
    const warn = (error: unknown) => log.warn({ err: error }, "presence could not be published; it is retried");
    this.#flushing = repeat(clock, flushEveryMs, () => this.#flush(), warn, failureWaitMs);
  }

  connected(client: Client): void {
    const { kind, userId, workspaceId } = client.principal;
    this.#newcomers.add(client);
    if (kind !== "user") return;
    const count = (this.#counts.get(userId) ?? 0) + 1;
    this.#counts.set(userId, count);
    if (count === 1) this.#users.set(userId, workspaceId, true);
  }

  disconnected(client: Client): void {
    const { kind, userId, workspaceId } = client.principal;
    this.#newcomers.delete(client);
    if (kind !== "user") return;
    const count = this.#counts.get(userId)! - 1;
    if (count > 0) return void this.#counts.set(userId, count);
    this.#counts.delete(userId);
    this.#deps.clock.after(graceMs, () => {
      if (!this.#counts.has(userId)) this.#users.set(userId, workspaceId, false);
    });
  }

  async close(): Promise<void> {
    await this.#flushing.close();
    await this.#users.close();
  }

  async #flush(): Promise<void> {
    const arrived = [...this.#newcomers].filter(({ state }) => state === "live");
    const workspaceIds = new Set([...this.#changed, ...arrived.map(({ principal }) => principal.workspaceId)]);
    for (const workspaceId of workspaceIds) {
      this.#changed.delete(workspaceId);
      const here = arrived.filter(({ principal }) => principal.workspaceId === workspaceId);
      try {
        await this.#publish(workspaceId, here);
      } catch (error) {
        this.#changed.add(workspaceId);
        throw error;
      }
      for (const client of here) this.#newcomers.delete(client);
    }
  }

  async #publish(workspaceId: string, arrived: readonly Client[]): Promise<void> {
    const feed = this.#deps.feeds.peek(workspaceId);
    if (feed === undefined) return;
    const online = this.#users.of(workspaceId);
    const before = this.#published.get(feed) ?? { online, shown: new Set() };
    const changed = [...online.symmetricDifference(before.online)];
    const shown = chooseShown(before.shown, online);
    const members = arrived.filter(({ principal }) => !seesAllConversations(principal));
    const idsOfMembers = members.map(({ principal }) => principal.participantId);
    const [peersOfChanged, peersOfMembers] = await Promise.all([
      findPeers(this.#deps.db, changed, feed.memberIds()),
      findPeers(this.#deps.db, idsOfMembers, [...online]),
    ]);
    this.#published.set(feed, { online, shown });

    const newcomers = new Set(arrived);
    const publish = (userId: string, audience: Audience) => {
      const isExcluded = (client: Client) => client.principal.userId === userId || newcomers.has(client);
      feed.publish(audience, presenceFrame(userId, online.has(userId), feed.cursor()), isExcluded);
    };
    for (const userId of shown.symmetricDifference(before.shown)) publish(userId, { agents: true, participantIds: [] });
    for (const userId of changed) {
      publish(userId, { agents: false, participantIds: peersOfChanged.get(userId) ?? [] });
    }
    const framesForAgents = sharedFrames([...shown]);
    for (const client of arrived) {
      const { principal } = client;
      const peers = peersOfMembers.get(principal.participantId) ?? [];
      introduce(client, seesAllConversations(principal) ? framesForAgents : sharedFrames(peers.slice(0, maxShown)));
    }
  }
}

/**
 * Whose presence agents and admins get: that of all users who are online while these are few, and of the first
 * `maxShown` otherwise. For ten thousand users the presence of all for all would take a hundred million frames.
 */
export function chooseShown(before: ReadonlySet<string>, online: ReadonlySet<string>): Set<string> {
  const shown = new Set([...before].filter((userId) => online.has(userId)));
  for (const userId of online) {
    if (shown.size >= maxShown) break;
    shown.add(userId);
  }
  return shown;
}

function presenceFrame(userId: string, isOnline: boolean, cursor: string): Frame {
  return frameOf("PRESENCE", cursor, { event: liveEvents.PRESENCE, user_id: userId, online: isOnline });
}

/** Frames of users who are online, made once for all clients at the same position. */
function sharedFrames(userIds: readonly string[]): (cursor: string) => ReadonlyMap<string, Frame> {
  const framesByCursor = new Map<string, ReadonlyMap<string, Frame>>();
  return (cursor) => {
    const known = framesByCursor.get(cursor);
    if (known !== undefined) return known;
    const frames = new Map(userIds.map((userId) => [userId, presenceFrame(userId, true, cursor)]));
    framesByCursor.set(cursor, frames);
    return frames;
  };
}

function introduce(client: Client, framesAt: ReturnType<typeof sharedFrames>): void {
  client.outlet.cork();
  for (const [userId, frame] of framesAt(client.cursor())) if (userId !== client.principal.userId) client.send(frame);
  client.outlet.uncork();
}

async function findPeers(db: Db, participantIds: string[], among: string[]): Promise<Map<string, string[]>> {
  if (participantIds.length === 0 || among.length === 0) return new Map();
  const rows = await all<{ participant_id: string; peer_ids: string[] }>(
    db,
    `SELECT mine.participant_id, array_agg(DISTINCT theirs.participant_id) AS peer_ids
     FROM members mine JOIN members theirs USING (conversation_id)
     WHERE mine.participant_id = ANY ($1) AND theirs.participant_id = ANY ($2)
       AND theirs.participant_id <> mine.participant_id
     GROUP BY mine.participant_id`,
    [participantIds, among],
  );
  return new Map(rows.map((row) => [row.participant_id, row.peer_ids]));
}
