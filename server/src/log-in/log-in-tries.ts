import { createHash } from "node:crypto";
import type { IdentityDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, run } from "../lib/query.ts";
import { addressKey } from "../lib/rate-limits/address-key.ts";
import {
  type BucketName,
  blankRow,
  expiryOf,
  type GuessRow,
  type GuessRows,
  type Judged,
  judgeGuess,
  type Shared,
  takeBack,
  trust,
  withoutFuture,
} from "./guesses.ts";

/**
 * Limits guesses at passwords and codes, across all processes and restarts, by the database's clock: see `judgeGuess`.
 * A guess pays before it is made and gets its tokens back when it was right, so that parallel guesses cannot exceed the
 * limit.
 */
export interface LogInTries {
  /** Before the queue for hashing. RATE_LIMIT_EXCEEDED, with the time to its turn; pays nothing yet. */
  admit(guesser: Guesser): Promise<{ isTrusted: boolean }>;
  /** At the head of the queue: pays for the guess. Throws as `admit`. */
  take(guesser: Guesser): Promise<Guess>;
  /** After a login: from now on only failures from this IP address slow down the account there. */
  succeeded(guess: Guess): Promise<void>;
  refund(guess: Guess): Promise<void>;
}

type Guesser =
  /** A client that is not logged in. All clients without an IP address count as one IP address. */
  { username: string; ip: string | null } | { userId: string };

interface Guess {
  guesser: Guesser;
  paid: readonly BucketName[];
}

export function openLogInTries({ db }: { db: IdentityDb }): LogInTries {
  /** Writes the rows that `decide` returns, under a lock on them. */
  async function change<T>(
    guesser: Guesser,
    decide: (rows: GuessRows, nowMs: number) => { rows: GuessRows; value: T },
  ): Promise<T> {
    const subjects = subjectsOf(guesser);
    return transaction(db, async (tx) => {
      const found = await lockRows(tx, Object.values(subjects));
      const nowMs = Math.max(...found.map((row) => row.now.getTime()));
      const before = rowsBy(subjects, found, nowMs, guesser);
      const { rows, value } = decide(before, nowMs);
      const written = Object.entries(subjects).flatMap(([key, subject]) => {
        const name = key as keyof GuessRows;
        if (rows[name] === before[name]) return [];
        const row = "userId" in guesser ? { ...rows[name], trustedUntilMs: 0 } : rows[name];
        return [{ ...row, subject, expiresAtMs: expiryOf(row, nowMs) }];
      });
      await writeRows(tx, written);
      return value;
    });
  }

  async function peek(guesser: Guesser): Promise<Judged & { isSettled: boolean; isTrusted: boolean }> {
    const subjects = subjectsOf(guesser);
    const { now, rows: found } = await findRows(db, Object.values(subjects));
    const rows = rowsBy(subjects, found, now.getTime(), guesser);
    const judged = judgeGuess(rows, now.getTime());
    const isTrusted = rows.pair.trustedUntilMs > now.getTime();
    return { ...judged, isSettled: judged.rows === rows, isTrusted };
  }

  const judge = (rows: GuessRows, nowMs: number) => {
    const judged = judgeGuess(rows, nowMs);
    return { rows: judged.rows, value: judged };
  };
  /** As `judge`, for a guess that is not made yet: it may get a turn but pays nothing. */
  const queue = (rows: GuessRows, nowMs: number) => {
    const judged = judgeGuess(rows, nowMs);
    return { rows: judged.waitMs > 0 ? judged.rows : rows, value: judged };
  };

  return {
    async admit(guesser) {
      const { waitMs, isSettled, isTrusted } = await peek(guesser);
      if (waitMs > 0) {
        const leftMs = isSettled ? waitMs : (await change(guesser, queue)).waitMs;
        if (leftMs > 0) throw tooManyTries(leftMs);
      }
      return { isTrusted };
    },

    async take(guesser) {
      const { waitMs, paid } = await change(guesser, judge);
      if (waitMs > 0) throw tooManyTries(waitMs);
      return { guesser, paid };
    },

    async succeeded({ guesser, paid }) {
      await change(guesser, (rows, nowMs) => {
        const after = takeBack(rows, paid);
        return { rows: "userId" in guesser ? after : trust(after, nowMs), value: undefined };
      });
    },

    async refund({ guesser, paid }) {
      await change(guesser, (rows) => ({ rows: takeBack(rows, paid), value: undefined }));
    },
  };
}

/** Most rows besides those of trusted pairs. Beyond it, the rows that expire first are deleted. */
const maxRows = 1_000_000;

/** Deletes expired rows, and rows beyond `maxRows`. Safe to repeat. */
export function deleteOldTries({ identityDb }: { identityDb: IdentityDb }, most = maxRows): Promise<number> {
  return run(
    identityDb,
    `DELETE FROM log_in_tries WHERE expires_at < now() OR (known_until IS NULL AND expires_at < (
       SELECT expires_at FROM log_in_tries WHERE known_until IS NULL ORDER BY expires_at DESC OFFSET $1 LIMIT 1))`,
    [most - 1],
  );
}

type Subjects = { pair: Buffer } & { [Name in Shared]?: Buffer };

/** Hashed, because people type passwords into the field of the username, and an IP address is personal data. */
function subjectsOf(guesser: Guesser): Subjects {
  if ("userId" in guesser) return { pair: hash("session", guesser.userId) };
  const name = guesser.username.toLowerCase();
  const address = guesser.ip === null ? "" : addressKey(guesser.ip);
  return {
    pair: hash("known", name, address),
    fresh: hash("fresh", name),
    repeated: hash("repeated", name),
    address: hash("guesses of address", address),
  };
}

function hash(...parts: string[]): Buffer {
  return createHash("sha256").update(JSON.stringify(parts)).digest();
}

function rowsBy(subjects: Subjects, found: readonly FoundRow[], nowMs: number, guesser: Guesser): GuessRows {
  const of = (subject: Buffer | undefined, bucket: BucketName): GuessRow => {
    const row = subject && found.find((one) => one.subject_hash.equals(subject));
    if (!row || row.expires_at.getTime() <= nowMs) return blankRow;
    const stored = {
      fullAtMs: row.full_at?.getTime() ?? 0,
      tries: row.failures,
      turnAtMs: row.turn_at?.getTime() ?? 0,
      trustedUntilMs: row.known_until?.getTime() ?? 0,
    };
    return withoutFuture(stored, bucket, nowMs);
  };
  const pair = of(subjects.pair, "trusted");
  return {
    pair: "userId" in guesser ? { ...pair, trustedUntilMs: Number.POSITIVE_INFINITY } : pair,
    fresh: of(subjects.fresh, "fresh"),
    repeated: of(subjects.repeated, "repeated"),
    address: of(subjects.address, "address"),
  };
}

function tooManyTries(leftMs: number): RequestError {
  const seconds = Math.ceil(leftMs / 1000);
  const message = `Too many wrong passwords or codes: try again in ${seconds} s.`;
  return new RequestError("RATE_LIMIT_EXCEEDED", message, { retryAfterSeconds: seconds });
}

interface FoundRow {
  subject_hash: Buffer;
  failures: number;
  full_at: Date | null;
  turn_at: Date | null;
  known_until: Date | null;
  expires_at: Date;
}

const columns = "t.subject_hash, t.failures, t.full_at, t.turn_at, t.known_until, t.expires_at";

async function findRows(db: Db, subjects: readonly Buffer[]): Promise<{ now: Date; rows: FoundRow[] }> {
  const rows = await all<FoundRow & { now: Date; subject_hash: Buffer | null }>(
    db,
    `SELECT clock_timestamp() AS now, ${columns}
       FROM (SELECT) AS once LEFT JOIN log_in_tries t ON t.subject_hash = ANY ($1::bytea[])`,
    [subjects],
  );
  return { now: rows[0]!.now, rows: rows.filter((row) => row.subject_hash !== null) };
}

/** Locks the rows, and creates missing ones, in one order, so that concurrent guesses do not deadlock. */
function lockRows(tx: Db, subjects: readonly Buffer[]): Promise<(FoundRow & { now: Date })[]> {
  return all(
    tx,
    `INSERT INTO log_in_tries AS t (subject_hash, failures, expires_at)
     SELECT subject_hash, 0, clock_timestamp() FROM unnest($1::bytea[]) AS s (subject_hash) ORDER BY subject_hash
     ON CONFLICT (subject_hash) DO UPDATE SET failures = t.failures
     RETURNING clock_timestamp() AS now, ${columns}`,
    [subjects],
  );
}

async function writeRows(
  tx: Db,
  rows: readonly (GuessRow & { subject: Buffer; expiresAtMs: number })[],
): Promise<void> {
  const times = (of: (row: (typeof rows)[number]) => number) =>
    rows.map((row) => (of(row) === 0 ? null : new Date(of(row))));
  await run(
    tx,
    `UPDATE log_in_tries t SET failures = w.failures, full_at = w.full_at, turn_at = w.turn_at,
       known_until = w.known_until, expires_at = w.expires_at
       FROM unnest($1::bytea[], $2::int[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
         AS w (subject_hash, failures, full_at, turn_at, known_until, expires_at)
      WHERE t.subject_hash = w.subject_hash`,
    [
      rows.map((row) => row.subject),
      rows.map((row) => row.tries),
      times((row) => row.fullAtMs),
      times((row) => row.turnAtMs),
      times((row) => row.trustedUntilMs),
      rows.map((row) => new Date(row.expiresAtMs)),
    ],
  );
}
