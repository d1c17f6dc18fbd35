import { recordAuditEvent, systemOf } from "../audit/audit.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { transaction } from "../lib/postgres.ts";
import { type Db, maybe } from "../lib/query.ts";
import type { Secret } from "../lib/secret.ts";
import { StartError } from "../lib/start-error.ts";
import { addWorkspace, findFirstWorkspace, isUsername } from "../users/users.ts";
import { type PasswordHasher, readablePassword } from "./password.ts";
import * as unseen from "./unseen-passwords.ts";

export interface FirstAdminDeps {
  db: IdentityDb;
  clock: Clock;
  hasher: PasswordHasher;
  config: { adminUsername: string; adminPassword: Secret | null };
  isOnlyProcess: boolean;
}

export interface FirstAdmin {
  created: boolean;
  username: string;
  /** Only when this start generated it: print it, it is not shown again. */
  password?: string;
  notice?: string;
  /** Call it once the password was shown: until then every start sets a new one. */
  passwordWasShown(): Promise<void>;
}

/**
 * Creates the workspace "Default" and its admin on an empty database; of several processes that start at once, one
 * does. Replaces a generated password that was never shown and never used by a new one, or by ADMIN_PASSWORD. Throws a
 * `StartError` when ADMIN_USERNAME is not a valid username.
 */
export async function ensureFirstAdmin(deps: FirstAdminDeps): Promise<FirstAdmin> {
  const { db } = deps;
  const { adminUsername: username, adminPassword } = deps.config;
  if ((await findFirstWorkspace(db)) === null) {
    const created = await createFirstAdmin(deps);
    if (created !== null) return { created: true, username, ...toShow(deps, created) };
  }
  const replaced = await replaceUnseen(deps);
  if (replaced !== null) return { created: false, username: replaced.username, ...toShow(deps, replaced) };
  const notice = adminPassword === null ? await youngNoticeOf(deps) : await noticeOf(deps, adminPassword);
  return { created: false, username, ...(notice !== null && { notice }), passwordWasShown: async () => {} };
}

interface CreatedAdmin {
  userId: string;
  generated: string | null;
  passwordHash: string;
}

function toShow({ db }: FirstAdminDeps, { userId, generated, passwordHash }: CreatedAdmin) {
  if (generated === null) return { passwordWasShown: async () => {} };
  return { password: generated, passwordWasShown: () => unseen.forget(db, userId, passwordHash) };
}

async function createFirstAdmin({ db, clock, hasher, config }: FirstAdminDeps): Promise<CreatedAdmin | null> {
  const { adminUsername: username, adminPassword } = config;
  if (!isUsername(username)) {
    throw new StartError("ADMIN_USERNAME is not a valid username: give 3 to 50 of a–z, 0–9, dot, dash and underscore.");
  }
  const generated = adminPassword === null ? readablePassword() : null;
  const passwordHash = await hasher.hash(generated ?? adminPassword!.reveal());
  return transaction(db, async (tx) => {
    await tx.query("SELECT pg_advisory_xact_lock($1)", [firstAdminLock]);
    if ((await findFirstWorkspace(tx)) !== null) return null;
    const { admin } = await addWorkspace(
      { db: tx, clock },
      { name: "Default", admin: { username, email: `${username}@localhost`, passwordHash } },
    );
    const userId = admin.user_id;
    if (generated !== null) await unseen.remember(tx, userId, passwordHash);
    return { userId, generated, passwordHash };
  });
}

/** An advisory lock: any number that no other lock of the hub uses. */
const firstAdminLock = 0x61646d6e;

async function replaceUnseen({
  db,
  hasher,
  config,
  isOnlyProcess,
}: FirstAdminDeps): Promise<(CreatedAdmin & { username: string }) | null> {
  const found = await unseen.find(db);
  if (found === null || (!isOnlyProcess && !found.is_old)) return null;
  const generated = config.adminPassword === null ? readablePassword() : null;
  const passwordHash = await hasher.hash(generated ?? config.adminPassword!.reveal());
  const { user_id: userId, username, workspace_id: workspaceId } = found;
  return transaction(db, async (tx) => {
    if (!(await unseen.replace(tx, { userId, passwordHash, oldHash: found.password_hash }))) return null;
    if (generated === null) await unseen.forget(tx, userId, passwordHash);
    await recordAuditEvent(tx, systemOf(workspaceId), {
      action: "password.reset",
      target: { type: "user", id: userId },
    });
    return { userId, username, generated, passwordHash };
  });
}

async function youngNoticeOf({ db }: FirstAdminDeps): Promise<string | null> {
  const found = await unseen.find(db);
  if (found === null) return null;
  return (
    `Another start has generated the password of ${found.username} less than a minute ago and shows it. If it was not shown, ` +
    `start again in a minute, or run npm start -- admin reset-password ${found.username}.`
  );
}

async function noticeOf({ db, hasher, config }: FirstAdminDeps, adminPassword: Secret): Promise<string | null> {
  const { adminUsername } = config;
  const found = await findPasswordHash(db, adminUsername);
  if (found === null) {
    return `ADMIN_PASSWORD has no effect: it is for a new database only, and this one has no user ${adminUsername}.`;
  }
  const { password_hash } = found;
  if (password_hash !== null && (await hasher.verify(password_hash, adminPassword.reveal()))) return null;
  return (
    `ADMIN_PASSWORD has no effect: it is for a new database only, and ${adminUsername} has another password. ` +
    `To set a new one: npm start -- admin reset-password ${adminUsername}`
  );
}

function findPasswordHash(db: Db, username: string) {
  return maybe<{ password_hash: string | null }>(
    db,
    "SELECT password_hash FROM users WHERE lower(username) = lower($1)",
    [username],
  );
}
