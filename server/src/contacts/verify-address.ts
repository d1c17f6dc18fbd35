/** A one-time code proves who has the phone now, and gives no access to earlier messages. */

import { createHash, randomInt, timingSafeEqual } from "node:crypto";
import { type Actor, recordAuditEvent } from "../audit/audit.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { type Db, maybe, one, run } from "../lib/query.ts";
import { type Address, formatAddress } from "./address.ts";
import { findOwners, insertAddresses, listAddresses, lockAddresses, takeAddress } from "./address-book.ts";
import type { HolderView } from "./own-addresses.ts";
import { describeParticipants, lockPeopleShared, resolveParticipants } from "./participants.ts";

const codeDigits = 6;
const maxTries = 5;
const codeMinutes = 10;
/** Most open verifications of one user, and of one address. */
const maxPending = 3;
/** Most verifications that one user, and for one address, may start in an hour, whether their codes arrive or not. */
const maxStartsAnHour = 5;
const maxProvedAddresses = 10;

interface Verification {
  verificationId: string;
  expiresAt: Date;
  /** For the address only: never in a response, a log or an event. */
  code: string;
  lastMessageHoursAgo: number | null;
}

interface UserKey {
  workspaceId: string;
  userId: string;
}

/** Does not reveal who has the address. RATE_LIMIT_EXCEEDED; CONFLICT for too many addresses. */
export async function startVerification(
  { db, clock }: { db: RequestDb; clock: Clock },
  { workspaceId, userId }: UserKey,
  address: Address,
): Promise<Verification> {
  const code = String(randomInt(10 ** codeDigits)).padStart(codeDigits, "0");
  const verificationId = newId(clock.now());
  return transaction(db, async (tx) => {
    await run(tx, "SELECT FROM users WHERE user_id = $1 FOR NO KEY UPDATE", [userId]);
    await lockAddresses(tx, workspaceId, [address]);
    await requireRoom(tx, userId);
    await requireFewStarts(tx, { workspaceId, userId }, address);
    const { expires_at } = await one<{ expires_at: Date }>(
      tx,
      `INSERT INTO address_verifications (verification_id, workspace_id, user_id, channel, identifier, code_hash, expires_at)
       VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(mins => $7)) RETURNING expires_at`,
      [
        verificationId,
        workspaceId,
        userId,
        address.channel,
        address.identifier,
        hashOf(verificationId, code),
        codeMinutes,
      ],
    );
    const known = await maybe<{ hours: number | null }>(
      tx,
      `SELECT (extract(epoch FROM now() - last_heard_at) / 3600)::double precision AS hours FROM addresses
       WHERE workspace_id = $1 AND channel = $2 AND identifier = $3`,
      [workspaceId, address.channel, address.identifier],
    );
    return { verificationId, expiresAt: expires_at, code, lastMessageHoursAgo: known?.hours ?? null };
  });
}

/**
 * RESOURCE_NOT_FOUND for an unknown, expired, used or exhausted verification; VALIDATION_ERROR for a wrong code;
 * CONFLICT for the address of another user, or of a contact that `isKnownToOthers`, without naming it.
 */
export async function verifyAddress(
  { db, clock }: { db: RequestDb; clock: Clock },
  by: Actor,
  userId: string,
  { verificationId, code }: { verificationId: string; code: string },
): Promise<HolderView> {
  const { workspaceId } = by;
  // A separate statement, so that the try counts even when the transaction below fails.
  const tried = await maybe<Address & { code_hash: Buffer; tries: number }>(
    db,
    `UPDATE address_verifications SET tries = tries + 1
     WHERE verification_id = $1 AND user_id = $2 AND workspace_id = $3 AND ended_at IS NULL AND expires_at > now()
       AND tries < $4
     RETURNING channel, identifier, code_hash, tries`,
    [verificationId, userId, workspaceId, maxTries],
  );
  if (tried === null) throw notFound("open verification");
  if (!timingSafeEqual(hashOf(verificationId, code), tried.code_hash)) {
    throw invalid(`The code is wrong. Tries left: ${maxTries - tried.tries}.`, { field: "code" });
  }
  const address = { channel: tried.channel, identifier: tried.identifier };
  return transaction(db, async (tx) => {
    await lockPeopleShared(tx, workspaceId);
    const living = (await resolveParticipants(tx, workspaceId, [userId])).get(userId);
    if (living?.kind !== "user") throw notFound("user");
    await run(tx, "SELECT FROM users WHERE user_id = $1 FOR NO KEY UPDATE", [userId]);
    await lockAddresses(tx, workspaceId, [address]);
    const ended = await run(
      tx,
      "UPDATE address_verifications SET ended_at = now() WHERE verification_id = $1 AND ended_at IS NULL",
      [verificationId],
    );
    if (ended === 0) throw notFound("open verification");
    const isNew = await assign(tx, { workspaceId, userId }, address, new Date(clock.now()));
    const view = (await describeParticipants(tx, [userId])).get(userId)!;
    if (isNew) {
      const details = { channel: address.channel, proof: "code" };
      await recordAuditEvent(tx, by, { action: "address.added", target: { type: "user", id: userId }, details });
    }
    return {
      participantId: userId,
      displayName: view.displayName,
      addresses: view.addresses.map(formatAddress),
    };
  });
}

/** Deletes verifications that no longer count. Safe to repeat. */
export function deleteOldVerifications({ db }: { db: PipelineDb }): Promise<number> {
  return run(db, "DELETE FROM address_verifications WHERE created_at < now() - interval '1 day'", []);
}

async function assign(tx: PoolClient, { workspaceId, userId }: UserKey, address: Address, now: Date): Promise<boolean> {
  const owner = (await findOwners(tx, workspaceId, [address]))[0];
  if (owner?.participantId === userId) return false;
  if (
    owner !== undefined &&
    (owner.kind !== "contact" || (await isKnownToOthers(tx, { workspaceId, userId }, owner.participantId)))
  ) {
    throw new RequestError(
      "CONFLICT",
      "This address belongs to another participant of this workspace. Ask an admin to add it.",
    );
  }
  await requireRoom(tx, userId);
  if (owner === undefined) {
    await insertAddresses(tx, { workspaceId, addresses: [{ ...address, participantId: userId }], createdAt: now });
  } else {
    await takeAddress(tx, { workspaceId, participantId: userId }, address);
  }
  return true;
}

/**
 * Whether the contact talked with anyone but this user and the workspace, so that its conversations must stay private.
 * A contact who wrote only to the workspace and got no reply is not protected.
 */
async function isKnownToOthers(tx: Db, { workspaceId, userId }: UserKey, contactId: string): Promise<boolean> {
  const row = await maybe(
    tx,
    `SELECT FROM members mine WHERE mine.participant_id = $1 AND (
       EXISTS (SELECT FROM members other WHERE other.conversation_id = mine.conversation_id
                AND other.participant_id NOT IN ($1, $2, $3))
       OR EXISTS (SELECT FROM messages m WHERE m.conversation_id = mine.conversation_id AND m.sender_id <> $1))
     LIMIT 1`,
    [contactId, userId, workspaceId],
  );
  return row !== null;
}

async function requireRoom(tx: Db, userId: string): Promise<void> {
  if ((await listAddresses(tx, [userId])).length < maxProvedAddresses) return;
  throw new RequestError(
    "CONFLICT",
    `You have ${maxProvedAddresses} addresses, which is the limit for addresses that you add yourself. Remove one first.`,
  );
}

async function requireFewStarts(tx: Db, { workspaceId, userId }: UserKey, address: Address): Promise<void> {
  const counted = await one<{ starts: number; pending: number }>(
    tx,
    `SELECT max(starts)::integer AS starts, max(pending)::integer AS pending FROM (
       SELECT count(*) AS starts, count(*) FILTER (WHERE ended_at IS NULL AND expires_at > now()) AS pending
         FROM address_verifications WHERE user_id = $2 AND created_at > now() - interval '1 hour'
       UNION ALL
       SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL AND expires_at > now())
         FROM address_verifications
        WHERE workspace_id = $1 AND channel = $3 AND identifier = $4 AND created_at > now() - interval '1 hour'
     ) counts`,
    [workspaceId, userId, address.channel, address.identifier],
  );
  if (counted.pending >= maxPending) {
    const message = `${maxPending} attempts are open already. Use the code of one of them, or try again in ${codeMinutes} minutes.`;
    throw new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds: codeMinutes * 60 });
  }
  if (counted.starts >= maxStartsAnHour) {
    const message = `At most ${maxStartsAnHour} attempts can be started in an hour, whether their codes arrived or not. Try again later.`;
    throw new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds: 3_600 });
  }
}

function hashOf(verificationId: string, code: string): Buffer {
  return createHash("sha256").update(`${verificationId} ${code}`).digest();
}
