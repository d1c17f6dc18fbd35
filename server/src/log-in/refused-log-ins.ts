import type { Origin } from "../audit/audit.ts";
import { type RefusedReason, recordRefusedSession } from "../credentials/credentials.ts";
import type { Db } from "../lib/query.ts";
import { findFirstWorkspace } from "../users/users.ts";

/**
 * For an unknown username the first workspace's log records the refusal, without the name, which may be a password.
 * Both take the same time.
 */
export async function recordRefused(
  db: Db,
  origin: Origin,
  user: { user_id: string; workspace_id: string } | null,
  reason: RefusedReason,
): Promise<void> {
  const firstWorkspaceId = await findFirstWorkspace(db);
  const workspaceId = user?.workspace_id ?? firstWorkspaceId;
  if (workspaceId === null) return;
  await recordRefusedSession(db, origin, { workspaceId, userId: user?.user_id ?? null }, reason);
}
