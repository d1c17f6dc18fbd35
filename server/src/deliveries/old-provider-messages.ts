import { deleteInBatches } from "../lib/partitions.ts";
import type { Pool } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";

/** Deletes the ids at platforms of deliveries and messages from before a time that are no longer there. */
export function deleteOldProviderMessages(db: Pool, before: Date): Promise<void> {
  return deleteInBatches((most) =>
    run(
      db,
      `DELETE FROM provider_messages WHERE ctid = ANY (ARRAY(
         SELECT p.ctid FROM provider_messages p JOIN channel_accounts a USING (channel_account_id)
         WHERE coalesce(p.delivery_id, p.message_id) < first_id_at($1) AND CASE
           WHEN p.delivery_id IS NULL THEN (
             SELECT true FROM messages m WHERE m.workspace_id = a.workspace_id AND m.message_id = p.message_id)
           ELSE (SELECT true FROM deliveries d WHERE d.delivery_id = p.delivery_id) END IS NULL
         LIMIT $2))`,
      [before, most],
    ),
  );
}
