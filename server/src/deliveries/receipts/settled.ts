import { type Db, run } from "../../lib/query.ts";

/** Stores the platform's ids of the parts, by which later receipts and quotes find the delivery. */
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
