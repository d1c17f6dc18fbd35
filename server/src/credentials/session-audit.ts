import { type Actor, type Origin, recordAuditEvent } from "../audit/audit.ts";
import { type Db, maybe } from "../lib/query.ts";

/** Why a log-in was refused. */
export type RefusedReason =
  | "unknown_user"
  | "wrong_password"
  | "wrong_second_factor"
  | "user_disabled"
  | "provider_log_in";

export async function recordRefusedSession(
  db: Db,
  origin: Origin,
  { workspaceId, userId }: { workspaceId: string; userId: string | null },
  reason: RefusedReason,
): Promise<void> {
  const target = userId === null ? null : { type: "user", id: userId };
  const by: Actor = { kind: "anonymous", workspaceId, origin };
  await recordAuditEvent(db, by, { action: "session.refused", target, details: { reason } });
}

/** For a user who was authenticated too late. Returns whether it is because the user is disabled. */
export async function recordOutdatedLogIn(db: Db, origin: Origin, userId: string): Promise<boolean> {
  const text = "SELECT workspace_id, disabled_at IS NOT NULL AS is_disabled FROM users WHERE user_id = $1";
  const user = await maybe<{ workspace_id: string; is_disabled: boolean }>(db, text, [userId]);
  if (user === null) return true;
  const reason = user.is_disabled ? "user_disabled" : "wrong_password";
  await recordRefusedSession(db, origin, { workspaceId: user.workspace_id, userId }, reason);
  return user.is_disabled;
}

export function recordTokenReuse(
  tx: Db,
  origin: Origin,
  session: { session_id: string; user_id: string; workspace_id: string },
) {
  return recordAuditEvent(
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
