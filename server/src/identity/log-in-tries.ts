import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { all, type Db, run } from "../lib/query.ts";

/**
 * What slows down those who guess passwords, over all processes and restarts. Failures count against the username, there
 * or not, and against the client's address. From the fifth of a username on (the 50th of an address) each failure doubles
 * the pause before the next try, from a second to `longestPauseMs`; a try within the pause is refused, right or wrong.
 *
 * Nobody can keep a user out: an address from which that user has logged in before counts for itself, and knows nothing of
 * what others fail to guess. From a new address the user waits for `longestPauseMs` at the most.
 */
export interface LogInTries {
  /** Throws RATE_LIMIT_EXCEEDED while a pause lasts. */
  admit(tries: Tries): Promise<void>;
  failed(tries: Tries): Promise<void>;
  /** The user got in: failures of the username, and of this user at this address, are forgotten. */
  succeeded(tries: Tries): Promise<void>;
}

/** Who tries, by what is counted. */
export interface Tries {
  username: string;
  /** The client's address; null where there is none, which counts for one. */
  ip: string | null;
}

/** Failures without a pause: of a username, and of an address, behind which there can be many people. */
const freeFailures = { username: 5, address: 50 };
const firstPauseMs = 1_000;
export const longestPauseMs = 15 * 60_000;
/** Failures are forgotten so long after the last one, which is later than any pause ends. */
const forgetAfterMs = 2 * longestPauseMs;
/** How long an address counts as known after a log-in. */
const knownForMs = 90 * 86_400_000;
/** How old that may be before a log-in notes it again. */
const renewAfterMs = 86_400_000;

export function openLogInTries({ db, clock }: { db: Db; clock: Clock }): LogInTries {
  async function look(tries: Tries) {
    const subjects = subjectsOf(tries);
    const rows = await findTries(db, Object.values(subjects), new Date(clock.now()));
    const of = (subject: Buffer) => rows.find(({ subject_hash }) => subject_hash.equals(subject));
    return { subjects, known: of(subjects.known), username: of(subjects.username), address: of(subjects.address) };
  }

  return {
    async admit(tries) {
      const { known, username, address } = await look(tries);
      const nowMs = clock.now();
      const leftMs = Math.max(
        pauseLeftMs(known ?? username, freeFailures.username, nowMs),
        pauseLeftMs(address, freeFailures.address, nowMs),
      );
      if (leftMs > 0) throw tooManyTries(leftMs);
    },

    async failed(tries) {
      const { subjects, known } = await look(tries);
      const person = known === undefined ? subjects.username : subjects.known;
      await countFailures(db, [person, subjects.address], new Date(clock.now()));
    },

    async succeeded(tries) {
      const { subjects, known, username } = await look(tries);
      const nowMs = clock.now();
      const knownForLongMs = known?.failures === 0 ? known.expires_at.getTime() - nowMs : 0;
      // Mostly nothing has changed, and nothing is written.
      if (username === undefined && knownForLongMs > knownForMs - renewAfterMs) return;
      await noteSuccess(db, { ...subjects, now: new Date(nowMs), knownUntil: new Date(nowMs + knownForMs) });
    },
  };
}

/** Deletes what says nothing any more. Safe to repeat. */
export function deleteOldTries({ identityDb, clock }: { identityDb: Db; clock: Clock }): Promise<number> {
  return run(identityDb, "DELETE FROM log_in_tries WHERE expires_at < $1", [new Date(clock.now())]);
}

/** Hashed, because a password may have been typed where the username belongs, and an address is somebody's. */
function subjectsOf({ username, ip }: Tries): { username: Buffer; address: Buffer; known: Buffer } {
  const name = username.toLowerCase();
  const address = ip === null ? "" : networkOf(ip);
  const hash = (...parts: string[]) => createHash("sha256").update(JSON.stringify(parts)).digest();
  return { username: hash("username", name), address: hash("address", address), known: hash("known", name, address) };
}

/** Of IPv6 the first half: a home has as many addresses as it likes in the second. */
function networkOf(ip: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (v4 !== undefined || !isIPv6(ip)) return v4 ?? ip;
  const [head = "", tail = ""] = ip.split("%", 1)[0]!.split("::");
  const groups = [head, tail].map((side) => (side === "" ? [] : side.split(":")));
  const missing = Math.max(0, 8 - groups[0]!.length - groups[1]!.length);
  const full = [...groups[0]!, ...(ip.includes("::") ? Array<string>(missing).fill("0") : []), ...groups[1]!];
  return full
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}

interface TriesRow {
  subject_hash: Buffer;
  failures: number;
  last_failed_at: Date;
  expires_at: Date;
}

function pauseLeftMs(row: TriesRow | undefined, free: number, nowMs: number): number {
  if (row === undefined || row.failures < free) return 0;
  return row.last_failed_at.getTime() + pauseMs(row.failures - free) - nowMs;
}

function pauseMs(beyond: number): number {
  return Math.min(firstPauseMs * 2 ** Math.min(beyond, 30), longestPauseMs);
}

function tooManyTries(leftMs: number): RequestError {
  return new RequestError("RATE_LIMIT_EXCEEDED", "Too many log-ins have failed; try again later.", {
    retryAfterSeconds: Math.ceil(leftMs / 1000),
  });
}

function findTries(db: Db, subjects: readonly Buffer[], now: Date): Promise<TriesRow[]> {
  return all<TriesRow>(
    db,
    `SELECT subject_hash, failures, last_failed_at, expires_at FROM log_in_tries
      WHERE subject_hash = ANY ($1::bytea[]) AND expires_at > $2`,
    [subjects, now],
  );
}

/** In one order, so that two who fail at the same moment do not wait in a ring. */
async function countFailures(db: Db, subjects: readonly Buffer[], now: Date): Promise<void> {
  await run(
    db,
    `INSERT INTO log_in_tries AS t (subject_hash, failures, last_failed_at, expires_at)
     SELECT subject_hash, 1, $2, $3 FROM unnest($1::bytea[]) AS failed (subject_hash) ORDER BY subject_hash
     ON CONFLICT (subject_hash) DO UPDATE
       SET failures = CASE WHEN t.last_failed_at > $4 THEN t.failures + 1 ELSE 1 END, last_failed_at = $2,
           expires_at = greatest($3, t.known_until)`,
    [subjects, now, new Date(now.getTime() + forgetAfterMs), new Date(now.getTime() - forgetAfterMs)],
  );
}

/** Two statements, each of which locks one row: so nobody waits in a ring with those who fail. */
async function noteSuccess(
  db: Db,
  row: { known: Buffer; username: Buffer; now: Date; knownUntil: Date },
): Promise<void> {
  await run(db, "DELETE FROM log_in_tries WHERE subject_hash = $1", [row.username]);
  await run(
    db,
    `INSERT INTO log_in_tries (subject_hash, failures, last_failed_at, known_until, expires_at)
     VALUES ($1, 0, $2, $3, $3)
     ON CONFLICT (subject_hash) DO UPDATE SET failures = 0, known_until = $3, expires_at = $3`,
    [row.known, row.now, row.knownUntil],
  );
}
