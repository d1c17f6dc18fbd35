import { type Authenticator, dependsOn, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { parseCursor, requireFeedScopes } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/postgres.ts";
import { repeat } from "../lib/repeat.ts";
import type { Closing } from "./closing.ts";
import type { Room } from "./room.ts";
import type { Rooms } from "./rooms.ts";
import { openShares, type ShareLimits } from "./shares.ts";
import type { Outlet, Subscriber } from "./subscriber.ts";

export interface Reader {
  readonly subscriber: Subscriber;
  readonly room: Room;
  readonly admission: Pick<Admission, "giveBack">;
}

/** A place for a caller. It is given back when the reader ends, or by `add` when that fails. */
export interface Admission {
  readonly authorization: string;
  readonly principal: Principal;
  giveBack(): void;
}

export interface ReadersDeps {
  rooms: Rooms;
  authenticate: Authenticator["authenticate"];
  recheck: Authenticator["recheck"];
  clock: Clock;
  log: Log;
  /** Most readers that this process serves. */
  maxReaders: number;
  limits: ShareLimits;
  /** Notified of readers that begin and end. */
  presence: { arrived(reader: Reader): void; left(reader: Reader): void };
}

/**
 * How often the database is asked about every reader's credential, in milliseconds: a change that was not heard of is
 * found, and all are known well enough to come back at once.
 */
const recheckEveryMs = 10_000;
/** Credentials checked in one statement; the rest follows in later turns of the event loop. */
const recheckSlice = 5_000;

/** Everybody who reads events in this process, and whether they still may. */
export function openReaders(deps: ReadersDeps) {
  const { rooms, authenticate, clock, log, maxReaders, presence } = deps;
  const readers = new Map<Subscriber, Reader>();
  const shares = openShares(deps.limits);
  /** Places taken, by readers and by callers that are about to become readers. */
  let taken = 0;
  /** Changes of identity that were heard of. */
  let changes = 0;
  let isClosed = false;
  const warn = (error: unknown) => {
    log.warn({ err: error }, "credentials of readers could not be checked; the check is repeated");
  };
  const rechecking = repeat(clock, recheckEveryMs, recheckAll, warn);

  /** Throws AUTH_… and OVERLOADED as for any request, FORBIDDEN without the scopes, RATE_LIMIT_EXCEEDED. */
  async function admit(authorization: string | undefined, address: string): Promise<Admission> {
    if (isClosed) throw new RequestError("OVERLOADED", "The hub is stopping: connect again.", { retryAfterSeconds: 1 });
    const principal = await authenticate(authorization);
    requireFeedScopes(principal);
    if (taken >= maxReaders) {
      throw new RequestError("OVERLOADED", "This process serves as many readers as it may: connect again later.", {
        retryAfterSeconds: 10,
      });
    }
    const leave = shares.take(principal, address);
    taken += 1;
    const giveBack = () => {
      taken -= 1;
      leave();
    };
    return { authorization: authorization!, principal, giveBack };
  }

  /**
   * `open` makes the outlet once nothing else can go wrong; null, and there is no reader, when it cannot. The reader is
   * held: let it go with `release`.
   */
  async function add(admission: Admission, open: () => Outlet | null): Promise<Reader | null> {
    const { authorization, principal } = admission;
    const changesBefore = changes;
    let reader: Reader | null = null;
    try {
      const room = await rooms.room(principal.workspaceId);
      const outlet = isClosed ? null : open();
      if (outlet === null) {
        rooms.left(room);
        return null;
      }
      const [position, cursor] = [room.position(), room.cursor()];
      const subscriber: Subscriber = { outlet, authorization, principal, state: "held", position, cursor, round: 0 };
      room.join(subscriber);
      reader = { subscriber, room, admission };
      readers.set(subscriber, reader);
      presence.arrived(reader);
      // What it came with may have been revoked while nobody would have found it among the readers.
      if (changes !== changesBefore) void recheck(reader).catch(warn);
      return reader;
    } finally {
      if (reader === null) admission.giveBack();
    }
  }

  /** Safe to call twice. */
  function remove(reader: Reader): void {
    const { subscriber, room } = reader;
    if (!readers.delete(subscriber)) return;
    room.leave(subscriber);
    rooms.left(room);
    presence.left(reader);
    reader.admission.giveBack();
  }

  function drop(reader: Reader, closing: Closing): void {
    remove(reader);
    reader.subscriber.outlet.close(closing);
  }

  /** Makes a held reader live at its position, or resumes it from a cursor. As `Room.catchUp`. */
  function release(reader: Reader, cursor?: string, onLive?: (count: number) => void): Promise<number | null> {
    const { subscriber, room } = reader;
    if (cursor === undefined) return room.goLive(subscriber, onLive);
    return room.catchUp(subscriber, parseCursor(cursor), onLive);
  }

  async function recheck(reader: Reader): Promise<void> {
    const { subscriber, room } = reader;
    const changesBefore = changes;
    try {
      const principal = await deps.recheck(subscriber.authorization);
      if (!readers.has(subscriber)) return;
      // The answer may be from before the change, and come after the one that was asked for because of it.
      if (changes !== changesBefore) return await recheck(reader);
      requireFeedScopes(principal);
      const { principal: before } = subscriber;
      subscriber.principal = principal;
      if (principal.role !== before.role || principal.participantId !== before.participantId) room.reseat(subscriber);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.code === "FORBIDDEN") drop(reader, "forbidden");
      else if (error.code.startsWith("AUTH_") || error.code === "API_KEY_INVALID") drop(reader, "credential");
    }
  }

  async function recheckAll(): Promise<void> {
    const all = [...readers.values()];
    for (let start = 0; start < all.length; start += recheckSlice) {
      await Promise.all(all.slice(start, start + recheckSlice).map(recheck));
    }
  }

  return {
    admit,
    add,
    remove,
    drop,
    release,
    count: () => readers.size,
    all: (): Iterable<Reader> => readers.values(),
    /** Takes the id of a session, user or API key that changed: its readers are asked about again, and maybe dropped. */
    async changed(id: string): Promise<void> {
      changes += 1;
      const affected = [...readers.values()].filter(({ subscriber }) => dependsOn(subscriber.principal, id));
      await Promise.all(affected.map(recheck));
    },
    recheckAll,
    async close(): Promise<void> {
      isClosed = true;
      for (const reader of [...readers.values()]) drop(reader, "stopping");
      await rechecking.close();
    },
  };
}

export type Readers = ReturnType<typeof openReaders>;
