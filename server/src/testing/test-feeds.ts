import type { Role } from "../../../contract/src/access.ts";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { openEventNotifier } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { newId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import { run } from "../lib/query.ts";
import { Client } from "../realtime/client.ts";
import type { Frame } from "../realtime/frames.ts";
import { LiveFeeds } from "../realtime/live-feeds.ts";
import { type CloseReason, lowWaterBytes, type Outlet } from "../realtime/outlet.ts";
import type { Pipeline } from "./test-pipeline.ts";

/** A client that keeps the frames that it gets. A slow one takes them only when `read` is called. */
export function openTestClient(principal: Principal, { isSlow = false } = {}) {
  const frames: { type: string; cursor: string; [field: string]: unknown }[] = [];
  const untaken: (() => void)[] = [];
  let buffered = 0;
  let most = 0;
  let closing: CloseReason | null = null;
  let onDrain = () => {};
  const outlet: Outlet = {
    write(frame: Frame, onSent) {
      buffered += frame.size;
      most = Math.max(most, buffered);
      const take = () => {
        buffered -= frame.size;
        frames.push(JSON.parse(frame.text));
        onSent?.();
      };
      if (isSlow) untaken.push(take);
      else take();
    },
    bufferedBytes: () => buffered,
    drained: () =>
      buffered <= lowWaterBytes
        ? Promise.resolve()
        : new Promise<void>((resolve) => {
            onDrain = resolve;
          }),
    cork() {},
    uncork() {},
    close(why) {
      closing ??= why;
    },
  };
  const client = new Client({ outlet, authorization: "", principal });
  return {
    client,
    frames,
    positions: () => frames.map(({ cursor }) => Number.parseInt(cursor, 10)),
    closing: () => closing,
    /** The most that was ever buffered for it, in bytes. */
    most: () => most,
    /** Takes all that is buffered for a slow client. */
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

/** The feeds of a process over the database of a pipeline. `notify` notifies it of new events. */
export function openTestFeeds(line: Pipeline, db: Db = line.pool, clock: Clock = systemClock) {
  const log = { info() {}, warn() {}, error: console.error };
  const taken: { deliveryId: string; userId: string }[] = [];
  const fanout = openLocalFanout(log);
  const eventNotifier = openEventNotifier({ fanout, clock: systemClock });
  const onTaken = (deliveryId: string, userId: string) => void taken.push({ deliveryId, userId });
  const feeds = new LiveFeeds({ db, eventNotifier, clock, log, onTaken });
  return {
    feeds,
    taken,
    notify: () => eventNotifier.notify(line.workspaceId),
    feed: () => feeds.open(line.workspaceId),
    async [Symbol.asyncDispose]() {
      await feeds.close();
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

/** Appends so many events of a conversation at once: statuses of messages that do not exist. */
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
