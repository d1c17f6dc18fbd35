import type { Role } from "../../../contract/src/access.ts";
import { type Origin, recordAuditEvent } from "../audit/audit.ts";
import {
  hashToken,
  lockCreator,
  newOpaqueToken,
  type Principal,
  requireMayManageRole,
} from "../credentials/credentials.ts";
import type { IdentityDb, PipelineDb, RequestDb } from "../database-roles.ts";
import { notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Mail, type Mailer, readableTime } from "../lib/mailer.ts";
import type { PageRequest } from "../lib/page-bytes.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";
import { addUser, type PasswordHashing } from "./manage-users.ts";
import type { User } from "./user-rows.ts";

/** Neither accepted nor revoked, and without its token, which only `invite` returns. */
export interface Invitation {
  invitation_id: string;
  email: string;
  role: Role;
  invited_by: string;
  made_by_key_id: string | null;
  expires_at: Date;
  created_at: Date;
}

const defaultInvitationSeconds = 7 * 86_400;

export interface InvitationDeps {
  db: RequestDb;
  clock: Clock;
  mailer: Mailer;
  publicUrl: string;
}

/**
 * The holder of the token can become a user with this email address and role in the caller's workspace, even where
 * registration is closed. The invitation is emailed when email is configured. CONFLICT when a user of the workspace has
 * the email address, FORBIDDEN as `requireMayManageRole`.
 */
export async function invite(
  { db, clock, mailer, publicUrl }: InvitationDeps,
  principal: Principal,
  {
    email,
    role,
    expiresInSeconds = defaultInvitationSeconds,
  }: { email: string; role: Role; expiresInSeconds?: number },
): Promise<Invitation & { token: string; url: string; is_mailed: boolean }> {
  requireMayManageRole(principal, role);
  const { workspaceId } = principal;
  const nowMs = clock.now();
  const token = newOpaqueToken("c4i_");
  const url = `${publicUrl}/accept-invitation#token=${token}`;
  const invitation = await transaction(db, async (tx) => {
    const { userId, apiKeyId, at } = await lockCreator(tx, clock, principal);
    if (await isUsersEmail(tx, workspaceId, email)) {
      throw new RequestError("CONFLICT", "A user of this workspace has this email address.", {
        details: { field: "email" },
      });
    }
    const expiresAt = new Date(nowMs + expiresInSeconds * 1000);
    const created = await one<Invitation>(
      tx,
      `INSERT INTO invitations (invitation_id, workspace_id, email, role, token_hash, invited_by, made_by_key, expires_at,
         created_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${columns}`,
      [newId(nowMs), workspaceId, email, role, hashToken(token), userId, apiKeyId, expiresAt, at],
    );
    const target = { type: "invitation", id: created.invitation_id };
    await recordAuditEvent(tx, principal, { action: "invitation.created", target, details: { role } });
    return created;
  });
  const is_mailed = mailer.send(invitationMail({ to: email, url, expiresAt: invitation.expires_at }));
  return { ...invitation, token, url, is_mailed };
}

/** Newest first, up to `limit + 1`, with expired ones that are still stored. */
export function listInvitations(db: Db, workspaceId: string, page: PageRequest): Promise<Invitation[]> {
  return all<Invitation>(
    db,
    `SELECT ${columns} FROM invitations
      WHERE workspace_id = $1 AND accepted_at IS NULL AND revoked_at IS NULL
        AND ($2::timestamptz IS NULL OR (created_at, invitation_id) < ($2, $3::uuid))
      ORDER BY created_at DESC, invitation_id DESC LIMIT $4`,
    [workspaceId, page.after?.at, page.after?.id, page.limit + 1],
  );
}

/** RESOURCE_NOT_FOUND for one that was accepted or revoked before. */
export async function revokeInvitation(
  { db, clock }: { db: RequestDb; clock: Clock },
  principal: Principal,
  invitationId: string,
): Promise<void> {
  await transaction(db, async (tx) => {
    const revoked = await run(
      tx,
      `UPDATE invitations SET revoked_at = $3
        WHERE invitation_id = $1 AND workspace_id = $2 AND accepted_at IS NULL AND revoked_at IS NULL`,
      [invitationId, principal.workspaceId, new Date(clock.now())],
    );
    if (revoked === 0) throw notFound("invitation");
    await recordAuditEvent(tx, principal, {
      action: "invitation.revoked",
      target: { type: "invitation", id: invitationId },
    });
  });
}

/** AUTH_INVALID for an unusable token; CONFLICT for a taken name, and the invitation stays valid. */
export async function acceptInvitation(
  { db, clock, hasher }: { db: IdentityDb; clock: Clock; hasher: PasswordHashing },
  origin: Origin,
  input: { token: string; username: string; password: string; displayName?: string | undefined },
): Promise<User> {
  const now = new Date(clock.now());
  const tokenHash = hashToken(input.token);
  // Checked before hashing, which is slow, and taken after it.
  if (!(await isOpen(db, tokenHash, now))) throw invalidInvitation();
  const passwordHash = await hasher.hash(input.password, { origin, account: tokenHash.toString("hex") });
  return transaction(db, async (tx) => {
    const invitation = await takeInvitation(tx, tokenHash, now);
    if (invitation === null) throw invalidInvitation();
    const { username, displayName } = input;
    const { email, role, workspace_id: workspaceId } = invitation;
    const user = await addUser({ db: tx, clock }, { username, displayName, passwordHash, email, role, workspaceId });
    await recordAuditEvent(
      tx,
      { kind: "user", callerId: user.user_id, workspaceId, origin },
      {
        action: "invitation.accepted",
        target: { type: "invitation", id: invitation.invitation_id },
        details: { role },
      },
    );
    return user;
  });
}

export function deleteOldInvitations({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return run(db, "DELETE FROM invitations WHERE expires_at < $1", [new Date(clock.now() - keepMs)]);
}

const keepMs = 30 * 86_400_000;

const columns = "invitation_id, email, role, invited_by, made_by_key AS made_by_key_id, expires_at, created_at";

async function isUsersEmail(db: Db, workspaceId: string, email: string): Promise<boolean> {
  const row = await maybe(db, "SELECT FROM users WHERE workspace_id = $1 AND lower(email) = lower($2)", [
    workspaceId,
    email,
  ]);
  return row !== null;
}

/** Not once its creator may not invite: an admin who lost access must not return by an old invitation. */
const isUsable = `token_hash = $1 AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > $2
  AND admin_holds(invited_by, made_by_key, $2)`;

async function isOpen(db: Db, tokenHash: Buffer, now: Date): Promise<boolean> {
  return (await maybe(db, `SELECT FROM invitations WHERE ${isUsable}`, [tokenHash, now])) !== null;
}

function takeInvitation(db: Db, tokenHash: Buffer, now: Date) {
  return maybe<{ invitation_id: string; email: string; role: Role; workspace_id: string }>(
    db,
    `UPDATE invitations SET accepted_at = $2 WHERE ${isUsable} RETURNING invitation_id, email, role, workspace_id`,
    [tokenHash, now],
  );
}

function invalidInvitation(): RequestError {
  return new RequestError(
    "AUTH_INVALID",
    "The invitation is unknown, was used or revoked, or has expired: ask for a new one.",
  );
}

function invitationMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "invitation",
    to,
    subject: "You are invited to Chat4All",
    text: `You are invited to Chat4All. Choose a username and a password here:

${url}

The link works once, until ${readableTime(expiresAt)}. If you did not expect it, ignore this email.
`,
  };
}
