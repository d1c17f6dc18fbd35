import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import { openLoopShare } from "../lib/loop-share.ts";
import type { Log } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import { openBlocks } from "./blocks.ts";
import { openRoom, type Room, type RoomDeps } from "./room.ts";
import { openTails } from "./tail.ts";

export interface RoomsDeps extends Pick<RoomDeps, "onTaken"> {
  db: Db;
  eventNotifier: EventNotifier;
  clock: Clock;
  log: Log;
}

/** An empty room follows its feed this long, for those who come back, in milliseconds. */
const keepEmptyMs = 30_000;

/** How much of each turn of the event loop goes to readers that catch up, in milliseconds. */
const replayShareMs = 5;

/** The rooms of the workspaces that somebody listens to in this process. */
export function openRooms({ db, eventNotifier, clock, log, onTaken }: RoomsDeps) {
  const rooms = new Map<string, Promise<Room>>();
  const opened = new Map<string, Room>();
  const tails = openTails({ db, eventNotifier, clock, log });
  const parts = { db, blocks: openBlocks(db, clock), clock, replays: openLoopShare(clock, replayShareMs), onTaken };

  async function open(workspaceId: string): Promise<Room> {
    const listener: { room?: Room } = {};
    const head = await tails.follow(workspaceId, {
      onEvents: async (events, last) => listener.room?.onEvents(events, last),
      onGap: (reason, newHead) => listener.room?.onGap(reason, newHead),
    });
    const room = openRoom(workspaceId, head, parts);
    listener.room = room;
    opened.set(workspaceId, room);
    return room;
  }

  function closeIfEmpty(workspaceId: string): void {
    if (opened.get(workspaceId)?.size() !== 0) return;
    opened.delete(workspaceId);
    rooms.delete(workspaceId);
    tails.unfollow(workspaceId);
  }

  return {
    /** Opens it when it is not; rejects when the feed cannot be read. Join it in the same turn, or it may close. */
    room(workspaceId: string): Promise<Room> {
      const known = rooms.get(workspaceId);
      if (known !== undefined) return known;
      const opening = open(workspaceId).catch((error) => {
        rooms.delete(workspaceId);
        throw error;
      });
      rooms.set(workspaceId, opening);
      return opening;
    },
    /** Only if somebody listens here. */
    peek: (workspaceId: string): Room | undefined => opened.get(workspaceId),
    all: (): Iterable<Room> => opened.values(),
    /** After somebody left. */
    left(room: Room): void {
      if (room.size() === 0) clock.after(keepEmptyMs, () => closeIfEmpty(room.workspaceId));
    },
    close: () => tails.close(),
  };
}

export type Rooms = ReturnType<typeof openRooms>;
