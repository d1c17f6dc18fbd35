import type { Pool } from "../lib/postgres.ts";
import { one, run } from "../lib/query.ts";

const dayMs = 86_400_000;
/** The parts in which the table is read in a day: the maintenance job that reads one runs about as often. */
const partsOfDay = 144;
/** Blocks of 8 KiB that one statement reads; a table of so many is read as a whole. */
const blocksAtOnce = 1_000;

/**
 * Deletes the ids at platforms of deliveries and messages from before a time that are no longer there. A call reads the part
 * of the table that is due at `now`, without an index: platforms' ids have no time, and an index by age would cost more with
 * each message than reading the table once a day.
 */
export async function deleteOldProviderMessages(db: Pool, before: Date, now: number): Promise<void> {
  const { blocks } = await one<{ blocks: number }>(
    db,
    "SELECT pg_relation_size('provider_messages') / current_setting('block_size')::integer AS blocks",
  );
  const part = Math.floor((now / dayMs) * partsOfDay) % partsOfDay;
  const isSmall = blocks <= blocksAtOnce;
  const end = isSmall ? blocks : Math.ceil((blocks * (part + 1)) / partsOfDay);
  for (let start = isSmall ? 0 : Math.floor((blocks * part) / partsOfDay); start < end; start += blocksAtOnce) {
    await run(
      db,
      `DELETE FROM provider_messages WHERE ctid = ANY (ARRAY(
         SELECT p.ctid FROM provider_messages p JOIN channel_accounts a USING (channel_account_id)
         WHERE p.ctid >= format('(%s,0)', $2::bigint)::tid AND p.ctid < format('(%s,0)', $3::bigint)::tid
           AND coalesce(p.delivery_id, p.message_id) < first_id_at($1) AND CASE
             WHEN p.delivery_id IS NULL THEN (
               SELECT true FROM messages m WHERE m.workspace_id = a.workspace_id AND m.message_id = p.message_id)
             ELSE (SELECT true FROM deliveries d WHERE d.delivery_id = p.delivery_id) END IS NULL))`,
      [before, start, Math.min(end, start + blocksAtOnce)],
    );
  }
}
