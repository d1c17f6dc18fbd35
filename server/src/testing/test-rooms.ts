import type { Role } from "../../../contract/src/access.ts";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { openEventNotifier } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { newId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import { run } from "../lib/query.ts";
import type { Closing } from "../realtime/closing.ts";
import type { Frame } from "../realtime/frames.ts";
import { openRooms } from "../realtime/rooms.ts";
import { lowWaterBytes, type Outlet, type Subscriber } from "../realtime/subscriber.ts";
import type { Pipeline } from "./test-pipeline.ts";

/** A reader of a test, which takes what it is sent only when it is told to, if it is slow. */
export function openTestReader(principal: Principal, { isSlow = false } = {}) {
  const told: { type: string; cursor: string; [field: string]: unknown }[] = [];
  const untaken: (() => void)[] = [];
  let buffered = 0;
  let most = 0;
  let closing: Closing | null = null;
  let onDrain = () => {};
  const outlet: Outlet = {
    write(frame: Frame, onTaken) {
      buffered += frame.size;
      most = Math.max(most, buffered);
      const take = () => {
        buffered -= frame.size;
        told.push(JSON.parse(frame.text));
        onTaken?.();
      };
      if (isSlow) untaken.push(take);
      else take();
    },
    bufferedBytes: () => buffered,
    drained: () =>
      buffered <= lowWaterBytes
        ? Promise.resolve()
        : new Promise((resolve) => {
            onDrain = resolve;
          }),
    cork() {},
    uncork() {},
    close(why) {
      closing ??= why;
    },
  };
  const subscriber: Subscriber = {
    outlet,
    authorization: "",
    principal,
    state: "held",
    position: 0,
    cursor: "0",
    round: 0,
  };
  return {
    subscriber,
    told,
    positions: () => told.map(({ cursor }) => Number.parseInt(cursor, 10)),
    closing: () => closing,
    /** The most that ever waited for it, in bytes. */
    most: () => most,
    /** A slow one reads all that waits for it. */
    read(): void {
      for (const take of untaken.splice(0)) take();
      onDrain();
    },
  };
}

export function testPrincipal(line: Pipeline, role: Role, userId: string = newId(Date.now())): Principal {
  return {
    kind: "user",
    callerId: userId,
    workspaceId: line.workspaceId,
    role,
    userId,
    participantId: userId,
    sessionId: null,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  };
}

/** The rooms of a process over the database of a pipeline. `tell` says that something has happened. */
export function openTestRooms(line: Pipeline, db: Db = line.pool, clock: Clock = systemClock) {
  const log = { info() {}, warn() {}, error: console.error };
  const taken: { deliveryId: string; userId: string }[] = [];
  const fanout = openLocalFanout(log);
  const eventNotifier = openEventNotifier({ fanout, clock: systemClock });
  const onTaken = (deliveryId: string, userId: string) => void taken.push({ deliveryId, userId });
  const rooms = openRooms({ db, eventNotifier, clock, log, onTaken });
  return {
    rooms,
    taken,
    tell: () => eventNotifier.notify(line.workspaceId),
    room: () => rooms.room(line.workspaceId),
    async [Symbol.asyncDispose]() {
      await rooms.close();
      await fanout[Symbol.asyncDispose]();
    },
  };
}

/** Counts the statements that go through. */
export function countingDb(db: Db): { db: Db; count: () => number } {
  let count = 0;
  const query = (text: string, values: unknown[]) => {
    count += 1;
    return db.query(text, values);
  };
  return { db: { query } as never, count: () => count };
}

/** So many events about nothing that is there in a conversation: statuses, all at once. */
export async function appendEvents(line: Pipeline, conversationId: string, count: number, note = ""): Promise<void> {
  const event = JSON.stringify([
    "s",
    conversationId,
    newId(Date.now()),
    newId(Date.now()),
    newId(Date.now()),
    "phone",
    "failed",
    { code: "PLATFORM_REFUSED", message: note },
  ]);
  await run(
    line.pool,
    "SELECT append_events(ARRAY[$1::uuid], ARRAY[$2::integer], ARRAY[array_to_string(array_fill($3::text, ARRAY[$2::integer]), ',')])",
    [line.workspaceId, count, event],
  );
}

export async function setMember(
  line: Pipeline,
  conversationId: string,
  participantId: string,
  isIn: boolean,
): Promise<void> {
  await run(
    line.pool,
    isIn
      ? "INSERT INTO members (conversation_id, participant_id, joined_at) VALUES ($1, $2, now())"
      : "DELETE FROM members WHERE conversation_id = $1 AND participant_id = $2",
    [conversationId, participantId],
  );
}
