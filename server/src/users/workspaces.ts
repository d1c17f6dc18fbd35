import { type Actor, recordAuditEvent, systemOf } from "../audit/audit.ts";
import { type Principal, requireMayManageRole, type Scoped } from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import { forbidden } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import type { PageRequest } from "../lib/page-bytes.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, one } from "../lib/query.ts";
import { addUser, type PasswordHashing, requesterOf, type UserWithPassword } from "./manage-users.ts";
import type { User } from "./user-rows.ts";

/** The customer of the hub: owns everything below, and is a participant under its own id. */
export interface Workspace {
  workspace_id: string;
  name: string;
  created_at: Date;
}

/** CONFLICT for a taken username or email address: then nothing is created. FORBIDDEN as `requireMayManageRole`. */
export async function createWorkspace(
  { db, clock, hasher }: { db: IdentityDb; clock: Clock; hasher: PasswordHashing },
  by: Actor & Scoped,
  { name, admin }: { name: string; admin: UserWithPassword },
): Promise<Workspace> {
  requireMayManageRole(by, "admin");
  const passwordHash = await hasher.hash(admin.password, requesterOf(by));
  return transaction(db, async (tx) => {
    const { workspace } = await addWorkspace({ db: tx, clock }, { name, admin: { ...admin, passwordHash } });
    const target = { type: "workspace", id: workspace.workspace_id };
    await recordAuditEvent(tx, by, { action: "workspace.created", target });
    return workspace;
  });
}

/** `createWorkspace` after hashing, in a transaction; recorded in the log of the new workspace. */
export async function addWorkspace(
  { db, clock }: { db: Db; clock: Clock },
  { name, admin }: { name: string; admin: { username: string; email: string; passwordHash: string } },
): Promise<{ workspace: Workspace; admin: User }> {
  const nowMs = clock.now();
  const workspace = await insertWorkspace(db, newId(nowMs), name, new Date(nowMs));
  const user = await addUser({ db, clock }, { ...admin, workspaceId: workspace.workspace_id, role: "admin" });
  const target = { type: "user", id: user.user_id };
  await recordAuditEvent(db, systemOf(workspace.workspace_id), {
    action: "user.created",
    target,
    details: { role: "admin" },
  });
  return { workspace, admin: user };
}

/** Only admins of the first workspace manage workspaces; all others get FORBIDDEN. */
export async function requireFirstWorkspace(db: IdentityDb, principal: Principal): Promise<void> {
  if ((await findFirstWorkspace(db)) === principal.workspaceId) return;
  throw forbidden("Only admins of the hub's first workspace can list and create workspaces.");
}

export function listWorkspaces(db: Db, page: PageRequest): Promise<Workspace[]> {
  return all<Workspace>(
    db,
    `SELECT workspace_id, name, created_at FROM workspaces
      WHERE $1::timestamptz IS NULL OR (created_at, workspace_id) < ($1, $2::uuid)
      ORDER BY created_at DESC, workspace_id DESC LIMIT $3`,
    [page.after?.at, page.after?.id, page.limit + 1],
  );
}

function insertWorkspace(db: Db, workspaceId: string, name: string, now: Date): Promise<Workspace> {
  return one<Workspace>(
    db,
    `WITH w AS (
       INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, $2, $3)
       RETURNING workspace_id, name, created_at
     ), p AS (
       INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       VALUES ($1, $1, 'workspace', $2, $3)
     )
     SELECT * FROM w`,
    [workspaceId, name, now],
  );
}

/** The oldest, which new users join; null on an empty database. */
export async function findFirstWorkspace(db: Db): Promise<string | null> {
  const row = await maybe<{ workspace_id: string }>(db, "SELECT workspace_id FROM workspaces ORDER BY ordinal LIMIT 1");
  return row?.workspace_id ?? null;
}
