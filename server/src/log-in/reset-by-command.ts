import { recordAuditEvent, systemOf } from "../audit/audit.ts";
import { allTime, type Ended, endAccess } from "../credentials/credentials.ts";
import type { Clock } from "../lib/clock.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { maybe } from "../lib/query.ts";
import { StartError } from "../lib/start-error.ts";
import type { PasswordHasher } from "./password.ts";
import { endResets, setPassword } from "./password-reset-rows.ts";
import { readablePassword } from "./readable-password.ts";

/**
 * Sets a generated password for a user and ends their sessions and, as `resetPassword`, what they made, unless
 * `keepsApiKeys`. The case of the name does not matter. For the operator, who needs no permission. Throws a `StartError`
 * when the user does not exist or is disabled.
 */
export async function resetPasswordByCommand(
  { db, clock, hasher }: { db: Pool; clock: Clock; hasher: PasswordHasher },
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
