import { publishStatuses } from "../events/events.ts";
import { pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import { all, type Db, plainArray } from "../lib/query.ts";
import type { PipelineDeps } from "./pipeline-deps.ts";

const gatherMs = 20;
const batchSize = 1_000;
const retryPauseMs = 1_000;
/** Deliveries that wait while the database is away; further ones stay `in_transit` until they are read. */
const maxWaiting = 100_000;

/** Marks deliveries of the channel `app` as `delivered` when a socket of the recipient has received them. */
export function openTaker(deps: Pick<PipelineDeps, "db" | "eventNotifier" | "clock" | "log">) {
  const { db, eventNotifier, clock, log } = deps;
  const waiting = new Map<string, string>();
  let writing: Promise<void> | null = null;
  let isClosing = false;

  async function writeAll(): Promise<void> {
    await pause(clock, gatherMs);
    while (waiting.size > 0) {
      const batch = new Map([...waiting].slice(0, batchSize));
      try {
        const changed = await markDelivered(db, batch, new Date(clock.now()));
        for (const { workspace_id } of changed) eventNotifier.notify(workspace_id);
      } catch (error) {
        if (!isRecordFault(error) && !isClosing) {
          await pause(clock, retryPauseMs);
          continue;
        }
        log.warn({ err: error }, "what sockets took could not be written and stays in transit until it is read");
      }
      for (const deliveryId of batch.keys()) waiting.delete(deliveryId);
    }
    writing = null;
  }

  return {
    /** A socket of this user has received the delivery. Returns at once; safe to call twice. */
    taken(deliveryId: string, userId: string): void {
      if (waiting.size >= maxWaiting || waiting.has(deliveryId)) return;
      waiting.set(deliveryId, userId);
      writing ??= writeAll();
    },
    async close(): Promise<void> {
      isClosing = true;
      await writing;
    },
  };
}

function markDelivered(db: Db, taken: ReadonlyMap<string, string>, now: Date): Promise<{ workspace_id: string }[]> {
  const deliveryIds = [...taken.keys()].toSorted();
  return all(
    db,
    `WITH taken AS (UPDATE deliveries d SET status = 'delivered', status_before = d.status, delivered_at = $2::timestamptz, sent_at = coalesce(d.sent_at, $2::timestamptz),
       delivered_by = i.user_id
     FROM unnest($1::uuid[], $3::uuid[]) AS i (delivery_id, user_id)
     WHERE d.delivery_id = i.delivery_id AND d.channel = 'app' AND d.status < 'delivered'
     RETURNING d.*), published AS MATERIALIZED (
       ${publishStatuses({ from: "taken d" })}
     )
     SELECT DISTINCT t.workspace_id FROM published JOIN taken t ON true`,
    [plainArray(deliveryIds), now, plainArray(deliveryIds.map((deliveryId) => taken.get(deliveryId)))],
  );
}
