import { setTimeout as delay } from "node:timers/promises";
import { firstIdAt } from "../../../server/src/lib/ids.ts";
import type { Generator } from "../load/generator.ts";
import type { Traffic } from "../load/requests.ts";
import { movedTo } from "../movement.ts";
import { withDb } from "../watch/statements.ts";
import type { Inbox } from "./simulator.ts";

/** A hub or the floor, from its requests to its receipts. */
export interface Line {
  traffic: Traffic;
  generator: Generator;
  inbox: Inbox;
  databaseUrl: string;
  /** Requests at once. Default: 32. */
  connections?: number;
}

/** Messages that may be on their way to the platform: enough to keep every step busy, too few to pile up. */
const onTheWay = 1_000;
const pollMs = 50;
/** How far the clocks of this process and of a hub may differ, which takes its time from the database. */
const clockStepMs = 1_000;

/**
 * Sends messages one by one, each to one of many people on WhatsApp, as fast as they get there. Resolves when the last of
 * their statuses, `read` unless the platform sends fewer, is applied. It waits as long as something moves.
 */
export async function sendThrough(
  { traffic, generator, inbox, databaseUrl, connections = 32 }: Line,
  count: number,
  until: "sent" | "read" = "read",
): Promise<void> {
  const before = inbox.messages.length;
  const startedAt = Date.now();
  const sending = generator.run({ traffic, connections, pace: { kind: "credit", messages: count } });
  const failed = sending.then(() => new Promise<never>(() => {}));
  // Awaited in each poll; a failure between two of them is not unhandled.
  failed.catch(() => {});
  const poll = () => Promise.race([delay(pollMs), failed]);

  for (;;) {
    await inbox.read();
    const received = inbox.messages.length - before;
    movedTo(`${received} of ${count} messages reached the platform`);
    if (received >= count) break;
    generator.allow(received + onTheWay);
    await poll();
  }
  await sending;
  await waitUntilApplied({ inbox, databaseUrl }, startedAt, until, failed);
}

/**
 * Resolves when the platform has sent all of its webhooks, and the receipts in them are applied. Of deliveries since
 * `startedAt` (ms of the wall clock): to look at a million older ones would cost more than what is measured.
 */
export async function waitUntilApplied(
  { inbox, databaseUrl }: Pick<Line, "inbox" | "databaseUrl">,
  startedAt: number,
  until: "sent" | "read",
  failed?: Promise<never>,
): Promise<void> {
  const poll = () => Promise.race([delay(pollMs), ...(failed ? [failed] : [])]);
  while (!(await inbox.isIdle())) await poll();
  // The database is asked, because asking the hub for each message would be part of what is measured.
  await withDb(databaseUrl, async (db) => {
    for (;;) {
      const { rows } = await db.query<{ missing: number }>(
        "SELECT count(*)::int AS missing FROM deliveries WHERE delivery_id >= $2 AND status < $1::delivery_status",
        [until, firstIdAt(startedAt - clockStepMs)],
      );
      const { missing } = rows[0]!;
      movedTo(`${missing} deliveries are not ${until}`);
      if (missing === 0) return;
      await poll();
    }
  });
}
