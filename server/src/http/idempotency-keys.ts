import { createHash } from "node:crypto";
import type { IdentityDb, PipelineDb, RequestDb } from "../database-roles.ts";
import { invalid, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { canonicalJson } from "../lib/json.ts";
import { type Db, maybe, run } from "../lib/query.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";

/**
 * What `Idempotency-Key` promises. A key is first claimed, then either completed or released:
 *
 *   (none) ── claim ──▶ in flight ── keepAnswer ──▶ completed ── 24 h ──▶ (none)
 *                           ├────── release, or 60 s without a response ──▶ (none)
 *                           └─ keepPart ──▶ done in part ── the same request again ──▶ in flight
 *
 * A claim is outside of the transaction of the operation. When a process dies between its commit and
 * `keepAnswer`, the key is free again after 60 s. Messages are then found by their ids, which derive from `workId`; other
 * operations may run twice, unless a uniqueness rule prevents it.
 */
export interface Claim {
  callerId: string;
  key: string;
  claimedAt: Date;
  /** The same at every try of the request: the ids of what the request creates derive from it. */
  workId: string;
  /** The response of an earlier try that did a part of the work; null for none. */
  part: string | null;
}

interface KeptAnswer {
  statusCode: number;
  answer: string;
}

export interface IdempotencyDeps {
  db: RequestDb | IdentityDb;
  clock: Clock;
  /** Responses hold API keys and tokens, bodies hold passwords: the one and the other's hash are sealed. */
  box: SecretBox;
}

const keptMs = 24 * 3_600_000;
/** Longer than any request may take; what is in flight for longer was abandoned by a process that died. */
const abandonedMs = 60_000;
const claimAttempts = 3;

/**
 * A claim, or the response that the same request got before. IDEMPOTENCY_CONFLICT when the key was used for another body;
 * CONFLICT, with `retry-after`, while the first request is still under way.
 */
export async function claimKey(
  deps: IdempotencyDeps,
  request: { workspaceId: string | null; callerId: string; key: string; fingerprint: string },
): Promise<Claim | KeptAnswer> {
  const { db, clock, box } = deps;
  const { callerId, key, fingerprint } = request;
  for (let attempt = 1; attempt <= claimAttempts; attempt += 1) {
    const claimedAt = new Date(clock.now());
    const bodyHashSealed = box.seal(fingerprint, context("body", callerId, key));
    const workId = await insertClaim(db, { ...request, bodyHashSealed, claimedAt, workId: newId(claimedAt.getTime()) });
    if (workId !== null) return { callerId, key, claimedAt, workId, part: null };
    const held = await findKey(db, callerId, key);
    if (held === null) continue;
    if (box.open(held.body_hash_sealed, context("body", callerId, key)) !== fingerprint) throw otherBody();
    const answer = held.answer_sealed === null ? null : box.open(held.answer_sealed, context("answer", callerId, key));
    if (held.status_code !== null) return { statusCode: held.status_code, answer: answer ?? "" };
    const isFree = claimedAt.getTime() - held.created_at.getTime() >= abandonedMs;
    if (answer === null || !isFree) break;
    if (await claimRest(db, { callerId, key, claimedAt }, held.created_at)) {
      return { callerId, key, claimedAt, workId: held.work_id, part: answer };
    }
  }
  throw stillUnderWay();
}

/** Stores the response, unless another request has the claim by now. */
export async function keepAnswer(
  { db, box }: IdempotencyDeps,
  { callerId, key, claimedAt }: Claim,
  { statusCode, answer }: KeptAnswer,
): Promise<void> {
  await run(
    db,
    `UPDATE idempotency_keys SET status_code = $4, answer_sealed = $5
      WHERE caller_id = $1 AND key = $2 AND created_at = $3 AND status_code IS NULL`,
    [callerId, key, claimedAt, statusCode, box.seal(answer, context("answer", callerId, key))],
  );
}

/**
 * Frees the key for any body after a failure that a retry may overcome. It keeps the id of the work, part of which may
 * have been done.
 */
export async function releaseKey({ db }: Pick<IdempotencyDeps, "db">, claim: Claim): Promise<void> {
  await free(db, claim, null);
}

export async function keepPart({ db, box }: IdempotencyDeps, claim: Claim, answer: string): Promise<void> {
  await free(db, claim, box.seal(answer, context("answer", claim.callerId, claim.key)));
}

async function free(db: Db, { callerId, key, claimedAt }: Claim, partSealed: Buffer | null): Promise<void> {
  await run(
    db,
    `UPDATE idempotency_keys SET created_at = $4, answer_sealed = coalesce($5, answer_sealed)
      WHERE caller_id = $1 AND key = $2 AND created_at = $3 AND status_code IS NULL`,
    [callerId, key, claimedAt, new Date(claimedAt.getTime() - abandonedMs), partSealed],
  );
}

/** Deletes keys older than 24 h; says how many. Safe to repeat, and in several processes at once. */
export function deleteOldIdempotencyKeys({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return run(db, "DELETE FROM idempotency_keys WHERE created_at <= $1", [new Date(clock.now() - keptMs)]);
}

/**
 * The same for the same method, path and body, in any order of the body's fields. VALIDATION_ERROR for a body
 * nested so deeply that it cannot be written: no route takes one.
 */
export function fingerprintOf(method: string, path: string, body: unknown): string {
  const json = canonicalJson(body ?? null, maxBodyDepth);
  if (json === null) throw invalid("The body is nested too deeply.");
  return createHash("sha256").update(`${method}\n${path}\n`).update(json).digest("base64url");
}

/** Levels of nesting in a body. No route takes so many. */
const maxBodyDepth = 100;

function context(part: "body" | "answer", callerId: string, key: string): string {
  return `idempotency-${part}:${callerId}:${key}`;
}

export const sealedAnswers: SealedColumn[] = (["body", "answer"] as const).map((part) => ({
  table: "idempotency_keys",
  column: part === "body" ? "body_hash_sealed" : "answer_sealed",
  key: ["caller_id", "key"],
  contextOf: (callerId, key) => context(part, callerId!, key!),
  isShortLived: true,
}));

/**
 * Claims a key that is free, abandoned or too old, and returns the id of the work; an abandoned key keeps its id. One
 * whose work was done in part is left to `claimRest`.
 */
async function insertClaim(
  db: Db,
  row: {
    workspaceId: string | null;
    callerId: string;
    key: string;
    bodyHashSealed: Buffer;
    claimedAt: Date;
    workId: string;
  },
): Promise<string | null> {
  const nowMs = row.claimedAt.getTime();
  const claimed = await maybe<{ work_id: string }>(
    db,
    `INSERT INTO idempotency_keys AS held (workspace_id, caller_id, key, body_hash_sealed, created_at, work_id)
     VALUES ($1, $2, $3, $4, $5, $8)
     ON CONFLICT (caller_id, key) DO UPDATE
        SET body_hash_sealed = excluded.body_hash_sealed, created_at = excluded.created_at,
            status_code = NULL, answer_sealed = NULL,
            work_id = CASE WHEN held.created_at <= $7 THEN excluded.work_id ELSE held.work_id END
      WHERE held.created_at <= $7
         OR (held.status_code IS NULL AND held.answer_sealed IS NULL AND held.created_at <= $6)
     RETURNING work_id`,
    [
      row.workspaceId,
      row.callerId,
      row.key,
      row.bodyHashSealed,
      row.claimedAt,
      new Date(nowMs - abandonedMs),
      new Date(nowMs - keptMs),
      row.workId,
    ],
  );
  return claimed?.work_id ?? null;
}

async function claimRest(
  db: Db,
  { callerId, key, claimedAt }: Pick<Claim, "callerId" | "key" | "claimedAt">,
  freedAt: Date,
): Promise<boolean> {
  const text = `UPDATE idempotency_keys SET created_at = $4
    WHERE caller_id = $1 AND key = $2 AND created_at = $3 AND status_code IS NULL`;
  return (await run(db, text, [callerId, key, freedAt, claimedAt])) > 0;
}

interface HeldKey {
  body_hash_sealed: Buffer;
  status_code: number | null;
  answer_sealed: Buffer | null;
  created_at: Date;
  work_id: string;
}

function findKey(db: Db, callerId: string, key: string): Promise<HeldKey | null> {
  return maybe(
    db,
    `SELECT body_hash_sealed, status_code, answer_sealed, created_at, work_id FROM idempotency_keys
     WHERE caller_id = $1 AND key = $2`,
    [callerId, key],
  );
}

function otherBody(): RequestError {
  return new RequestError(
    "IDEMPOTENCY_CONFLICT",
    "This Idempotency-Key was used for another request: use a new key for a new request.",
  );
}

function stillUnderWay(): RequestError {
  return new RequestError("CONFLICT", "The first request with this Idempotency-Key is still under way: try again.", {
    retryAfterSeconds: 1,
  });
}
