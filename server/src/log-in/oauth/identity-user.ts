import { randomInt } from "node:crypto";
import { type Origin, recordAuditEvent } from "../../audit/audit.ts";
import { allTime, endAccess, type Forget } from "../../credentials/credentials.ts";
import type { IdentityDb } from "../../database-roles.ts";
import { forbidden, RequestError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import { plainName } from "../../lib/names.ts";
import { isUniqueViolation, transaction } from "../../lib/postgres.ts";
import type { Db } from "../../lib/query.ts";
import { addUser, findFirstWorkspace, isUsername } from "../../users/users.ts";
import { endResets } from "../password-reset-rows.ts";
import { deleteTotp } from "../totp/totp-rows.ts";
import * as rows from "./identity-rows.ts";
import type { ProvenIdentity } from "./provider.ts";

export interface IdentityUserDeps extends Forget {
  db: IdentityDb;
  clock: Clock;
  registration: "open" | "invite" | "closed";
}

/**
 * The user with this identity: the one it is linked to, with any email address; else the one with that email address, which
 * the provider must have verified; else, where registration is open, a new member of the first workspace. FORBIDDEN
 * otherwise, in the same words whether there is an account with the address or not.
 *
 * An account that was registered with the address without proof is not trusted: linking removes its password, open
 * resets, sessions, second factor and everything that it created, so that the person who registered it cannot return.
 */
export async function findOrCreateUser(
  deps: IdentityUserDeps,
  { provider, origin }: { provider: string; origin: Origin },
  identity: ProvenIdentity,
): Promise<string> {
  for (let tries = 1; ; tries += 1) {
    try {
      const settled = await transaction(deps.db, (tx) => settle(deps, tx, { provider, origin, tries }, identity));
      if (settled.isClaimed) deps.forget(settled.userId);
      return settled.userId;
    } catch (error) {
      if (tries >= maxTries || !isTaken(error)) throw error;
    }
  }
}

/** A name may be taken, or a concurrent login of the same person may be faster: each try starts again. */
const maxTries = 6;

interface IdentityLogIn {
  provider: string;
  origin: Origin;
  tries: number;
}

async function settle(
  { clock, registration }: IdentityUserDeps,
  tx: Db,
  { provider, origin, tries }: IdentityLogIn,
  identity: ProvenIdentity,
): Promise<{ userId: string; isClaimed: boolean }> {
  const now = new Date(clock.now());
  const { issuer, subject } = identity;
  const known = await rows.useIdentity(tx, { issuer, subject, now });
  if (known !== null) return { userId: known.user_id, isClaimed: false };

  const email = requireVerifiedEmail(provider, identity);
  const found = await rows.lockUserByEmail(tx, email);
  if (found !== null && found.disabled_at !== null) {
    throw forbidden("This user is disabled: ask an admin of the workspace.");
  }
  const isClaimed = found !== null && found.email_verified_at === null;
  if (isClaimed) await endUnprovenAccess(tx, found.user_id, now);
  const user = found ?? (await makeUser({ clock, registration }, tx, { email, provider, identity, tries }));
  const { user_id: userId, workspace_id: workspaceId } = user;
  await rows.insertIdentity(tx, { issuer, subject, userId, workspaceId, provider, now });
  const by = { kind: "user", callerId: userId, workspaceId, origin } as const;
  const target = { type: "user", id: userId };
  if (found === null) await recordAuditEvent(tx, by, { action: "user.registered", target, details: { provider } });
  else await recordAuditEvent(tx, by, { action: "identity.linked", target, details: { provider, claimed: isClaimed } });
  return { userId, isClaimed };
}

function requireVerifiedEmail(provider: string, { email, isEmailVerified }: ProvenIdentity): string {
  if (email === null || !/^[^\s@]+@[^\s@]+$/.test(email) || email.length > 254) {
    throw forbidden(`${provider} did not share your email address: allow it there, and log in again.`);
  }
  // The database compares without case, which maps some letters to ASCII: the lower case of U+212A is a "k".
  if (!/^[\x21-\x7e]+$/.test(email)) {
    throw forbidden(
      `Your email address at ${provider} has characters that this hub does not accept: use another one there.`,
    );
  }
  if (!isEmailVerified) {
    throw forbidden(`${provider} has not verified your email address: verify it there, and log in again.`);
  }
  return email;
}

async function endUnprovenAccess(tx: Db, userId: string, now: Date): Promise<void> {
  await rows.claimAccount(tx, userId, now);
  await endResets(tx, userId, now);
  await endAccess(tx, { userId, now }, { apiKeysSince: allTime });
  await deleteTotp(tx, userId);
}

async function makeUser(
  { clock, registration }: Pick<IdentityUserDeps, "clock" | "registration">,
  tx: Db,
  { email, provider, identity, tries }: { email: string; provider: string; identity: ProvenIdentity; tries: number },
) {
  if (registration !== "open") {
    throw forbidden(
      `Registration is closed on this hub: ask an admin to create a user with your email address at ${provider}.`,
    );
  }
  const workspaceId = await findFirstWorkspace(tx);
  if (workspaceId === null) throw new Error("the first workspace is missing: it is created before the hub listens");
  const username = usernameFor(identity.username ?? email.split("@")[0]!, tries);
  const displayName = plainLine(identity.displayName) ?? username;
  const user = { username, displayName, email, passwordHash: null, isEmailVerified: true };
  return addUser({ db: tx, clock }, { ...user, workspaceId, role: "member" });
}

function usernameFor(wish: string, tries: number): string {
  const plain = wish
    .normalize("NFKD")
    .replace(/[^A-Za-z0-9._-]/g, "")
    .replace(/^[._-]+/, "")
    .slice(0, 40);
  const base = plain.length >= 3 ? plain : `user${plain}`;
  const username = tries === 1 && plain.length >= 3 ? base : `${base}-${randomInt(10_000, 100_000)}`;
  if (!isUsername(username)) throw new Error("the derived username is not valid");
  return username;
}

function plainLine(text: string | null): string | null {
  return text === null ? null : plainName(plainName(text)?.slice(0, 200) ?? "");
}

function isTaken(error: unknown): boolean {
  if (error instanceof RequestError) return error.code === "CONFLICT";
  return isUniqueViolation(error) && error.constraint === "login_identities_pkey";
}
