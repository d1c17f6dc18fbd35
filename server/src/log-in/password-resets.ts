import type { Logger } from "pino";
import { type Origin, recordAuditEvent, systemOf } from "../audit/audit.ts";
import {
  allTime,
  type Ended,
  type Ending,
  endAccess,
  hashToken,
  lockCreator,
  newOpaqueToken,
  type Principal,
  requireMayManageRole,
} from "../credentials/credentials.ts";
import type { IdentityDb, RequestDb } from "../database-roles.ts";
import { notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type Mail, type Mailer, readableTime } from "../lib/mailer.ts";
import { transaction } from "../lib/postgres.ts";
import { maybe } from "../lib/query.ts";
import { StartError } from "../lib/start-error.ts";
import type { PasswordDeps } from "./change-password.ts";
import { type PasswordHasher, readablePassword } from "./password.ts";
import * as rows from "./password-reset-rows.ts";
import { endResets, setPassword } from "./password-reset-rows.ts";

interface ResetDeps {
  clock: Clock;
  mailer: Mailer;
  publicUrl: string;
}

const resetTtlMs = 3_600_000;

/** Returns the token only here; emails it too when email is configured. FORBIDDEN as `requireMayManageRole`. */
export async function resetPasswordOf(
  { db, clock, mailer, publicUrl }: ResetDeps & { db: RequestDb },
  principal: Principal,
  userId: string,
): Promise<{ token: string; url: string; expires_at: Date; is_mailed: boolean }> {
  const { workspaceId } = principal;
  const reset = newReset(clock, publicUrl);
  const email = await transaction(db, async (tx) => {
    const creator = await lockCreator(tx, clock, principal);
    const user = await rows.lockLiveUser(tx, { workspaceId, userId });
    if (user === null) throw notFound("user");
    requireMayManageRole(principal, user.role);
    await rows.insertReset(tx, { ...reset, userId, workspaceId, creator, now: creator.at });
    await recordAuditEvent(tx, principal, { action: "password.reset_requested", target: { type: "user", id: userId } });
    return user.email;
  });
  const is_mailed = mailer.send(passwordResetMail({ to: email, url: reset.url, expiresAt: reset.expiresAt }));
  return { token: reset.token, url: reset.url, expires_at: reset.expiresAt, is_mailed };
}

/**
 * Emails a token to the user with this address, if there is one, once in `mailEveryMs`. Returns at once, so that neither
 * response nor time reveals whether there is such a user.
 */
export type RequestPasswordReset = (email: string, origin: Origin) => void;

/** Requests that may be under way, of two statements each; another one is dropped. */
const maxRequests = 100;

export function openPasswordResetRequests(
  deps: ResetDeps & { db: IdentityDb; log: Pick<Logger, "warn"> },
): RequestPasswordReset {
  let underWay = 0;
  return (email, origin) => {
    if (!deps.mailer.isOn || underWay >= maxRequests) return;
    underWay += 1;
    mailPasswordReset(deps, email, origin)
      .catch((error) => deps.log.warn({ err: error }, "a password reset could not be emailed"))
      .finally(() => {
        underWay -= 1;
      });
  };
}

async function mailPasswordReset(
  { db, clock, mailer, publicUrl }: ResetDeps & { db: IdentityDb },
  email: string,
  origin: Origin,
) {
  const reset = newReset(clock, publicUrl);
  const to = await transaction(db, async (tx) => {
    const user = await rows.lockUserByEmail(tx, email);
    if (user === null) return null;
    const { user_id: userId, workspace_id: workspaceId } = user;
    if (await rows.wasJustMailed(tx, userId, new Date(clock.now() - mailEveryMs))) return null;
    await rows.insertReset(tx, { ...reset, userId, workspaceId, creator: null });
    await recordAuditEvent(
      tx,
      { kind: "anonymous", workspaceId, origin },
      { action: "password.reset_requested", target: { type: "user", id: userId } },
    );
    return user.email;
  });
  if (to !== null) mailer.send(passwordResetMail({ to, url: reset.url, expiresAt: reset.expiresAt }));
}

const mailEveryMs = 300_000;

/** Sets the password and ends what `ending` says. AUTH_INVALID for a token that is unknown, used or expired. */
export async function resetPassword(
  { db, clock, hasher, forget }: PasswordDeps & { db: IdentityDb },
  origin: Origin,
  { token, newPassword, ending }: { token: string; newPassword: string; ending: Ending },
): Promise<void> {
  const now = new Date(clock.now());
  const tokenHash = hashToken(token);
  // Checked before hashing, which is slow, and taken after it.
  if (!(await rows.isResetOpen(db, tokenHash, now))) throw invalidReset();
  const passwordHash = await hasher.hash(newPassword, { origin, account: tokenHash.toString("hex") });
  const userId = await transaction(db, async (tx) => {
    const reset = await rows.takeReset(tx, tokenHash, now);
    if (reset === null) throw invalidReset();
    await rows.setPassword(tx, { userId: reset.user_id, passwordHash, provesEmail: reset.requested_by === null, now });
    await rows.endResets(tx, reset.user_id, now);
    // A mailbox or an admin proves who the user is, but a thief may have created keys before.
    const { apiKeysSince = allTime } = ending;
    const details = await endAccess(tx, { userId: reset.user_id, now }, { ...ending, apiKeysSince });
    const by = { kind: "anonymous", workspaceId: reset.workspace_id, origin } as const;
    await recordAuditEvent(tx, by, { action: "password.reset", target: { type: "user", id: reset.user_id }, details });
    return reset.user_id;
  });
  forget(userId);
}

function newReset(clock: Clock, publicUrl: string) {
  const token = newOpaqueToken("c4p_");
  const nowMs = clock.now();
  return {
    token,
    tokenHash: hashToken(token),
    // A fragment, which is sent to no server and no proxy.
    url: `${publicUrl}/reset-password#token=${token}`,
    now: new Date(nowMs),
    expiresAt: new Date(nowMs + resetTtlMs),
  };
}

function invalidReset(): RequestError {
  return new RequestError("AUTH_INVALID", "The token is unknown, was used, or has expired: ask for a new one.");
}

function passwordResetMail({ to, url, expiresAt }: { to: string; url: string; expiresAt: Date }): Mail {
  return {
    kind: "password reset",
    to,
    subject: "Choose a new password for Chat4All",
    text: `A new password was requested for your account. Choose it here:

${url}

The link works once, until ${readableTime(expiresAt)}. If it was not you, ignore this email: your password does not change.
`,
  };
}

/**
 * Sets a generated password for a user and ends their sessions and, unless `keepsApiKeys`, what they created. Ignores
 * the case of the name. For the operator, who needs no permission. Throws a `StartError` when the user does not exist
 * or is disabled.
 */
export async function resetPasswordByCommand(
  { db, clock, hasher }: { db: IdentityDb; clock: Clock; hasher: PasswordHasher },
  { name, keepsApiKeys }: { name: string; keepsApiKeys: boolean },
): Promise<{ username: string; password: string; ended: Ended }> {
  const password = readablePassword();
  const passwordHash = await hasher.hash(password);
  return transaction(db, async (tx) => {
    const user = await maybe<{ user_id: string; workspace_id: string; username: string; is_disabled: boolean }>(
      tx,
      `SELECT user_id, workspace_id, username, disabled_at IS NOT NULL AS is_disabled
         FROM users WHERE lower(username) = lower($1) FOR UPDATE`,
      [name],
    );
    if (user === null) throw new StartError(`There is no user ${name}: give the name of another user.`);
    const { user_id: userId, username } = user;
    if (user.is_disabled)
      throw new StartError(`The user ${username} is disabled: enable the user first, or give another name.`);
    const now = new Date(clock.now());
    await setPassword(tx, { userId, passwordHash, provesEmail: false, now });
    await endResets(tx, userId, now);
    const ended = await endAccess(tx, { userId, now }, { apiKeysSince: keepsApiKeys ? null : allTime });
    const by = systemOf(user.workspace_id);
    await recordAuditEvent(tx, by, { action: "password.reset", target: { type: "user", id: userId }, details: ended });
    return { username, password, ended };
  });
}
