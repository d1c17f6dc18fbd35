import type { Role } from "../../../contract/src/access.ts";
import { usernamePattern } from "../../../contract/src/users.ts";
import { type Actor, type Origin, recordAuditEvent } from "../audit/audit.ts";
import {
  type Forget,
  hasScope,
  requireMayManageRole,
  revokeApiKeysOf,
  revokeSessionsOf,
  type Scoped,
} from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { isUniqueViolation, transaction } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import type { User } from "./user-rows.ts";
import * as rows from "./user-rows.ts";

export interface UserWithPassword {
  username: string;
  email: string;
  password: string;
}

export interface UserDeps {
  db: RequestDb;
  clock: Clock;
  hasher: PasswordHashing;
}

/** CONFLICT, naming the field, for a username or email address taken in the hub; FORBIDDEN as `requireMayManageRole`. */
export async function createUser(
  { db, clock, hasher }: UserDeps,
  by: Actor & Scoped,
  input: UserWithPassword & { role: Role; displayName?: string | undefined },
): Promise<User> {
  requireMayManageRole(by, input.role);
  const passwordHash = await hasher.hash(input.password, requesterOf(by));
  return transaction(db, async (tx) => {
    const user = await addUser({ db: tx, clock }, { ...input, passwordHash, workspaceId: by.workspaceId });
    const details = { role: input.role };
    await recordAuditEvent(tx, by, { action: "user.created", target: targetOf(user.user_id), details });
    return user;
  });
}

/** `createUser` after hashing, which a transaction must not wait for. */
export async function addUser(
  { db, clock }: { db: Db; clock: Clock },
  input: Omit<UserWithPassword, "password"> & {
    passwordHash: string | null;
    workspaceId: string;
    role: Role;
    displayName?: string | undefined;
    isEmailVerified?: boolean;
  },
): Promise<User> {
  const nowMs = clock.now();
  const row = {
    ...input,
    userId: newId(nowMs),
    displayName: input.displayName ?? input.username,
    isEmailVerified: input.isEmailVerified ?? false,
    now: new Date(nowMs),
  };
  return rows.insertUser(db, row).catch(refuseTakenNames);
}

/** RESOURCE_NOT_FOUND for a user who is deleted or of another workspace. */
export async function getUser(db: Db, key: { workspaceId: string; userId: string }): Promise<User> {
  const user = await rows.findUser(db, key);
  if (user === null) throw notFound("user");
  return user;
}

interface UserChanges {
  role?: Role | undefined;
  displayName?: string | undefined;
  /** Ends the sessions and disables API keys and password; false enables keys and password. */
  isDisabled?: boolean | undefined;
}

/** CONFLICT when the workspace would be left without an admin; FORBIDDEN as `requireMayManageRole`. */
export async function updateUser(
  { db, clock, forget }: { db: RequestDb; clock: Clock } & Forget,
  by: Actor & Scoped,
  userId: string,
  changes: UserChanges,
): Promise<User> {
  if (changes.role !== undefined) requireMayManageRole(by, changes.role);
  const now = new Date(clock.now());
  const key = { workspaceId: by.workspaceId, userId };
  const user = await transaction(db, async (tx) => {
    const losesRights = changes.isDisabled === true || (changes.role !== undefined && changes.role !== "admin");
    if (losesRights) await requireAnotherAdmin(tx, key);
    const before = await rows.lockUser(tx, key);
    if (before === null) throw notFound("user");
    requireMayManageRole(by, before.role);
    if (!(await rows.updateUserRow(tx, key, { ...changes, now }))) throw notFound("user");
    if (changes.isDisabled) await revokeSessionsOf(tx, userId, now);
    const after = await getUser(tx, key);
    await recordChanges(tx, by, before, after);
    return after;
  });
  forget(userId);
  return user;
}

interface UserDeletionDeps extends Forget {
  db: RequestDb;
  clock: Clock;
  /** Deletes all login methods of the user except the password, in the same transaction. */
  deleteLogInMethods: (tx: Db, userId: string) => Promise<void>;
}

/**
 * Disables the user for good and deletes name, email address, password and keys. The username is free again; messages
 * stay under the name "Deleted user". CONFLICT for the last admin; FORBIDDEN as `requireMayManageRole`, and for an API
 * key that may not revoke keys when the user has some.
 */
export async function deleteUser(
  { db, clock, forget, deleteLogInMethods }: UserDeletionDeps,
  by: Actor & Scoped,
  userId: string,
): Promise<void> {
  const now = new Date(clock.now());
  const key = { workspaceId: by.workspaceId, userId };
  await transaction(db, async (tx) => {
    await requireAnotherAdmin(tx, key);
    const before = await rows.lockUser(tx, key);
    if (before === null) throw notFound("user");
    requireMayManageRole(by, before.role);
    if (!(await rows.anonymiseUser(tx, key, now))) throw notFound("user");
    const revokedKeys = await revokeApiKeysOf(tx, key.userId, now);
    if (revokedKeys > 0 && !hasScope(by, "api-keys:write")) {
      throw forbidden(
        "This user has API keys. To delete them with the user, the API key needs the scope api-keys:write.",
      );
    }
    await revokeSessionsOf(tx, key.userId, now);
    await deleteLogInMethods(tx, key.userId);
    await recordAuditEvent(tx, by, { action: "user.deleted", target: targetOf(userId) });
  });
  forget(userId);
}

async function recordChanges(
  tx: Db,
  by: Actor,
  before: { role: Role; disabled_at: Date | null },
  { user_id, role, disabled_at }: User,
): Promise<void> {
  const target = targetOf(user_id);
  if (role !== before.role) {
    await recordAuditEvent(tx, by, { action: "user.role_changed", target, details: { from: before.role, to: role } });
  }
  if ((disabled_at === null) === (before.disabled_at === null)) return;
  await recordAuditEvent(tx, by, { action: disabled_at === null ? "user.enabled" : "user.disabled", target });
}

function targetOf(userId: string) {
  return { type: "user", id: userId };
}

async function requireAnotherAdmin(tx: Db, { workspaceId, userId }: { workspaceId: string; userId: string }) {
  const admins = await rows.lockAdmins(tx, workspaceId);
  if (admins.length > 1 || admins[0]?.user_id !== userId) return;
  throw new RequestError("CONFLICT", "This is the last admin of the workspace: create another one first.");
}

const namesByIndex: Record<string, string> = { users_by_username: "username", users_by_email: "email" };

function refuseTakenNames(error: unknown): never {
  const field = isUniqueViolation(error) ? namesByIndex[error.constraint ?? ""] : undefined;
  if (field === undefined) throw error;
  throw new RequestError("CONFLICT", `This ${field} is taken: choose another one.`, { details: { field } });
}

const expression = new RegExp(usernamePattern);

export function isUsername(text: string): boolean {
  return expression.test(text);
}

export interface PasswordHashing {
  /** The hash to store. OVERLOADED when too many passwords are being hashed for this client IP address, or in total. */
  hash(password: string, requester: Requester): Promise<string>;
}

/** Requests of one client IP address, and of one account there, take turns. */
export interface Requester {
  origin: Origin;
  account: string;
}

export function requesterOf(by: Actor): Requester {
  return { origin: by.origin, account: "callerId" in by ? by.callerId : "" };
}
