import { recordAuditEvent } from "../audit/audit.ts";
import { type Ending, endAccess, type Forget, type Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { transaction } from "../lib/postgres.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import type { LogInTries } from "./log-in-tries.ts";
import { type PasswordHasher, sourceOf } from "./password.ts";
import { endResets } from "./password-reset-rows.ts";

export interface PasswordDeps extends Forget {
  clock: Clock;
  hasher: PasswordHasher;
}

/**
 * Sets a new password and ends what `ending` says, except this session. FORBIDDEN for a wrong password (tries are
 * limited) and for an API key. A user without a password, who logs in through a provider, needs no old one within
 * `freshSessionMs` of a login.
 */
export async function changePassword(
  { db, clock, hasher, tries, forget }: PasswordDeps & { db: RequestDb; tries: LogInTries },
  principal: Principal,
  {
    currentPassword,
    newPassword,
    ending,
  }: { currentPassword: string | undefined; newPassword: string; ending: Ending },
): Promise<void> {
  const { userId, sessionId } = principal;
  if (sessionId === null) throw forbidden("An API key cannot change a password: log in to change yours.");
  const user = await findOwn(db, { userId, sessionId });
  if (user === null) throw notFound("user");
  const now = new Date(clock.now());
  if (user.password_hash === null) {
    if (now.getTime() - user.session_created_at.getTime() > freshSessionMs) {
      throw forbidden("You have no password yet: log in through your provider again and set one within 10 minutes.");
    }
  } else {
    const isRight = await isCurrent({ hasher, tries }, principal, user.password_hash, currentPassword);
    if (!isRight) throw forbidden("The current password is wrong, or missing.");
    if (newPassword === currentPassword) {
      throw invalid("new_password is the current one: choose another.", { field: "new_password" });
    }
  }
  const passwordHash = await hasher.hash(newPassword, { origin: principal.origin, account: userId });
  const isChanged = await transaction(db, async (tx) => {
    if (!(await replacePassword(tx, { userId, passwordHash, oldHash: user.password_hash }))) return false;
    await endResets(tx, userId, now);
    const details = await endAccess(tx, { userId, keptSessionId: sessionId, now }, ending);
    await recordAuditEvent(tx, principal, {
      action: "password.changed",
      target: { type: "user", id: userId },
      details,
    });
    return true;
  });
  if (!isChanged) throw new RequestError("CONFLICT", "The password was changed concurrently: try again.");
  forget(userId);
}

async function isCurrent(
  { hasher, tries }: { hasher: PasswordHasher; tries: LogInTries },
  { userId, origin }: Principal,
  hashed: string,
  password: string | undefined,
): Promise<boolean> {
  if (password === undefined) return false;
  const guesser = { userId };
  await tries.admit(guesser);
  return hasher.inTurn(sourceOf(origin, userId), async (verify) => {
    const guess = await tries.take(guesser);
    const isRight = await verify(hashed, password);
    if (isRight) await tries.succeeded(guess);
    return isRight;
  });
}

/** The age up to which a session replaces the password that a user does not have, in milliseconds. */
const freshSessionMs = 600_000;

function findOwn(db: Db, { userId, sessionId }: { userId: string; sessionId: string }) {
  return maybe<{ password_hash: string | null; session_created_at: Date }>(
    db,
    `SELECT u.password_hash, s.created_at AS session_created_at
       FROM users u JOIN sessions s USING (user_id) WHERE u.user_id = $1 AND s.session_id = $2`,
    [userId, sessionId],
  );
}

async function replacePassword(
  db: Db,
  row: { userId: string; passwordHash: string; oldHash: string | null },
): Promise<boolean> {
  const changed = await run(
    db,
    "UPDATE users SET password_hash = $2 WHERE user_id = $1 AND password_hash IS NOT DISTINCT FROM $3",
    [row.userId, row.passwordHash, row.oldHash],
  );
  return changed === 1;
}
