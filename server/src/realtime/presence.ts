import { randomUUID } from "node:crypto";
import { liveEvents } from "../../../contract/src/events.ts";
import { seesAllConversations } from "../credentials/credentials.ts";
import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import type { Log } from "../lib/postgres.ts";
import { all, type Db } from "../lib/query.ts";
import { repeat } from "../lib/repeat.ts";
import { type Frame, frameOf } from "./frames.ts";
import type { Reader } from "./readers.ts";
import type { Audience } from "./room.ts";
import type { Rooms } from "./rooms.ts";
import { openShownUsers } from "./shown-users.ts";
import { openSightings, type Sighting, type Sightings } from "./sightings.ts";
import { cursorOf, send } from "./subscriber.ts";

export interface PresenceDeps {
  db: Db;
  fanout: Fanout;
  rooms: Rooms;
  clock: Clock;
  log: Log;
}

/**
 * Who is online: a user with a reader in any process. Told to those who share a conversation, and to agents and admins as
 * `openShownUsers` says.
 */
export interface Presence {
  arrived(reader: Reader): void;
  left(reader: Reader): void;
  close(): Promise<void>;
}

/** Changes within this time are told together, in milliseconds. */
const flushEveryMs = 100;
/** A user whose last reader has gone is online for this long still: most come back at once. In milliseconds. */
const graceMs = 5_000;
/** Users that a member who arrives is told of, at the most. */
const maxToldAtOnce = 100;

export function openPresence({ db, fanout, rooms, clock, log }: PresenceDeps): Presence {
  /** Readers of each user in this process. */
  const counts = new Map<string, number>();
  const newcomers = new Set<Reader>();
  const changes = new Map<string, Sighting>();
  const shownUsers = openShownUsers();
  const sightings: Sightings = openSightings({
    self: randomUUID(),
    fanout,
    clock,
    log,
    onChange: (change) => void changes.set(change.userId, change),
  });
  const flushing = repeat(clock, flushEveryMs, flush, (error) => {
    log.warn({ err: error }, "presence could not be told");
  });

  async function flush(): Promise<void> {
    // One that is still being brought up to date is not told of changes: it is told of all when it is live.
    const arrived = [...newcomers].filter(({ subscriber }) => subscriber.state === "live");
    if (changes.size === 0 && arrived.length === 0) return;
    const changed = [...changes.values()];
    changes.clear();
    for (const reader of arrived) newcomers.delete(reader);
    const workspaces = new Set([...changed, ...arrived.map(({ room }) => room)].map(({ workspaceId }) => workspaceId));
    for (const workspaceId of workspaces) {
      await tell(
        workspaceId,
        changed.filter((change) => change.workspaceId === workspaceId),
        arrived.filter(({ room }) => room.workspaceId === workspaceId),
      );
    }
  }

  async function tell(workspaceId: string, changed: Sighting[], arrived: Reader[]): Promise<void> {
    const online = sightings.online(workspaceId);
    const shown = shownUsers.update(workspaceId, online);
    const room = rooms.peek(workspaceId);
    if (room === undefined) return;
    const [overseers, members] = partition(arrived, ({ subscriber }) => seesAllConversations(subscriber.principal));
    const [peersOfChanged, peersOfMembers] = await Promise.all([
      findPeers(
        db,
        changed.map(({ userId }) => userId),
        room.memberIds(),
      ),
      findPeers(
        db,
        members.map(({ subscriber }) => subscriber.principal.participantId),
        online,
      ),
    ]);
    const pass = (userId: string, isOnline: boolean, to: Audience) =>
      room.tell(to, presenceFrame(userId, isOnline, room.cursor()), ({ principal }) => principal.userId === userId);
    for (const userId of shown.came) pass(userId, true, { isForOverseers: true, participantIds: [] });
    for (const userId of shown.left) pass(userId, false, { isForOverseers: true, participantIds: [] });
    for (const { userId, isOnline } of changed) {
      pass(userId, isOnline, { isForOverseers: false, participantIds: peersOfChanged.get(userId) ?? [] });
    }
    const framesAt = sharedFrames(shown.users);
    for (const reader of overseers) introduce(reader, framesAt);
    for (const reader of members) {
      const peers = peersOfMembers.get(reader.subscriber.principal.participantId) ?? [];
      introduce(reader, sharedFrames(peers.slice(0, maxToldAtOnce)));
    }
  }

  return {
    arrived(reader) {
      const { kind, userId, workspaceId } = reader.subscriber.principal;
      newcomers.add(reader);
      if (kind !== "user") return;
      const count = (counts.get(userId) ?? 0) + 1;
      counts.set(userId, count);
      if (count === 1) sightings.set({ workspaceId, userId, isOnline: true });
    },
    left(reader) {
      const { kind, userId, workspaceId } = reader.subscriber.principal;
      newcomers.delete(reader);
      if (kind !== "user") return;
      const count = counts.get(userId)! - 1;
      if (count > 0) {
        counts.set(userId, count);
        return;
      }
      counts.delete(userId);
      clock.after(graceMs, () => {
        if (!counts.has(userId)) sightings.set({ workspaceId, userId, isOnline: false });
      });
    },
    async close() {
      await flushing.close();
      await sightings.close();
    },
  };
}

function presenceFrame(userId: string, isOnline: boolean, cursor: string): Frame {
  return frameOf("PRESENCE", cursor, { event: liveEvents.PRESENCE, user_id: userId, online: isOnline });
}

/** Frames that say who is online, made once for all who stand at the same position. */
function sharedFrames(userIds: readonly string[]): (cursor: string) => ReadonlyMap<string, Frame> {
  const made = new Map<string, ReadonlyMap<string, Frame>>();
  return (cursor) => {
    const known = made.get(cursor);
    if (known !== undefined) return known;
    const frames = new Map(userIds.map((userId) => [userId, presenceFrame(userId, true, cursor)]));
    made.set(cursor, frames);
    return frames;
  };
}

/** Tells somebody who arrives who is there. Its cursor stays where it is. */
function introduce(reader: Reader, framesAt: ReturnType<typeof sharedFrames>): void {
  const { subscriber } = reader;
  const { outlet, principal } = subscriber;
  outlet.cork();
  for (const [userId, frame] of framesAt(cursorOf(reader))) if (userId !== principal.userId) send(subscriber, frame);
  outlet.uncork();
}

function partition<Item>(items: readonly Item[], test: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** Which of `among` share a conversation with each of these. */
async function findPeers(db: Db, userIds: string[], among: string[]): Promise<Map<string, string[]>> {
  if (userIds.length === 0 || among.length === 0) return new Map();
  const rows = await all<{ user_id: string; peer_ids: string[] }>(
    db,
    `SELECT mine.participant_id AS user_id, array_agg(DISTINCT theirs.participant_id) AS peer_ids
     FROM members mine JOIN members theirs USING (conversation_id)
     WHERE mine.participant_id = ANY ($1) AND theirs.participant_id = ANY ($2)
       AND theirs.participant_id <> mine.participant_id
     GROUP BY mine.participant_id`,
    [userIds, among],
  );
  return new Map(rows.map((row) => [row.user_id, row.peer_ids]));
}
