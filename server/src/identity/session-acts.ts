import { type Actor, type Origin, recordAct } from "../audit/audit.ts";
import { type Db, maybe } from "../lib/query.ts";
import { findFirstWorkspace } from "./first-workspace.ts";

/**
 * A name that nobody has belongs to no workspace: the first one's admins are told, without the name, since it may be a
 * password that was typed into the wrong field. Both cases cost the same.
 */
export async function recordRefused(
  db: Db,
  origin: Origin,
  user: { user_id: string; workspace_id: string } | null,
  reason: "unknown_user" | "wrong_password" | "wrong_second_factor" | "user_disabled" | "provider_log_in",
): Promise<void> {
  const firstWorkspaceId = await findFirstWorkspace(db);
  const workspaceId = user?.workspace_id ?? firstWorkspaceId;
  if (workspaceId === null) return;
  const target = user && { type: "user", id: user.user_id };
  const by: Actor = { kind: "anonymous", workspaceId, origin };
  await recordAct(db, by, { action: "session.refused", target, details: { reason } });
}

/** Of somebody who proved who they are, too late. Returns whether it is because the user is disabled. */
export async function recordKeptOut(db: Db, origin: Origin, userId: string): Promise<boolean> {
  const text = "SELECT user_id, workspace_id, disabled_at IS NOT NULL AS is_disabled FROM users WHERE user_id = $1";
  const user = await maybe<{ user_id: string; workspace_id: string; is_disabled: boolean }>(db, text, [userId]);
  if (user === null) return true;
  await recordRefused(db, origin, user, user.is_disabled ? "user_disabled" : "wrong_password");
  return user.is_disabled;
}

export function recordReuse(
  tx: Db,
  origin: Origin,
  session: { session_id: string; user_id: string; workspace_id: string },
) {
  return recordAct(
    tx,
    { kind: "anonymous", workspaceId: session.workspace_id, origin },
    {
      action: "session.revoked",
      target: sessionTarget(session.session_id),
      details: { reason: "refresh_token_used_twice", user_id: session.user_id },
    },
  );
}

export function sessionTarget(sessionId: string) {
  return { type: "session", id: sessionId };
}
