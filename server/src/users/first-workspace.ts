import { type Db, maybe } from "../lib/query.ts";

/** The one that was made first, and that new accounts join; null on an empty database. */
export async function findFirstWorkspace(db: Db): Promise<string | null> {
  const row = await maybe<{ workspace_id: string }>(db, "SELECT workspace_id FROM workspaces ORDER BY ordinal LIMIT 1");
  return row?.workspace_id ?? null;
}
