import type { Bus } from "../bus/bus.ts";
import { type Db, run } from "../lib/query.ts";
import { topics } from "../topics.ts";

/** A delivery that waited for this very word needs no further attempt: its lane may go on at once. */
export async function rouseLanes(bus: Bus, db: Db, lanes: readonly LanePlace[]): Promise<void> {
  for (const [channel, rows] of Map.groupBy(lanes, (row) => row.channel)) {
    const records = rows.map((row) => ({
      key: row.lane_id,
      value: { deliveryId: row.delivery_id, accountId: row.channel_account_id, ordinal: row.ordinal, isChanged: true },
    }));
    await bus.publish(db, topics.outgoing(channel), records);
    bus.wake(topics.outgoing(channel));
  }
}

export interface LanePlace {
  delivery_id: string;
  lane_id: string;
  channel: string;
  channel_account_id: string;
  ordinal: number;
}

/** Lets later receipts and quotes find the delivery by the platform's ids of its parts. */
export async function nameParts(
  db: Db,
  deliveries: readonly {
    channel_account_id: string;
    delivery_id: string;
    message_id: string;
    ids: readonly string[];
  }[],
): Promise<void> {
  const parts = deliveries.flatMap((delivery) => delivery.ids.map((id) => ({ ...delivery, id })));
  if (parts.length === 0) return;
  await run(
    db,
    `INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[]) ON CONFLICT DO NOTHING`,
    [
      parts.map((part) => part.channel_account_id),
      parts.map((part) => part.id),
      parts.map((part) => part.delivery_id),
      parts.map((part) => part.message_id),
    ],
  );
}
