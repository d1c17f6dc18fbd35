/**
 * Decides when a guess at a password may be made, with token buckets. Each is stored as the time at which it is full
 * again (generic cell rate algorithm). A pair of account and IP address that has logged in before is trusted, like a
 * device cookie in "Slow Down Online Guessing Attacks with Device Cookies" (OWASP): it has its own bucket, and failures
 * of others do not count against it. All other pairs share the buckets of the account and of the IP address.
 *
 * A guess without a token gets a turn, which reserves the next token. Each pair has at most one turn, so waiting
 * clients are served in order, and polling gains nothing. An IP address that has tried the account only once or twice
 * uses another bucket than those that repeat, so it does not wait behind them (new flows go first in FQ-CoDel, RFC
 * 8290).
 */
interface Bucket {
  burst: number;
  everyMs: number;
}

const minuteMs = 60_000;

export const buckets = {
  /** For an account at an IP address where it has logged in, and for a session that confirms its password or code. */
  trusted: { burst: 10, everyMs: minuteMs },
  /** For an account, over all IP addresses that have each tried it fewer than `newTries` times within a day. */
  fresh: { burst: 30, everyMs: minuteMs },
  /** For an account, over all other IP addresses. */
  repeated: { burst: 5, everyMs: 2 * minuteMs },
  /** For an IP address, over all accounts that have not logged in from there. */
  address: { burst: 50, everyMs: 10_000 },
} as const satisfies Record<string, Bucket>;

/** Tries after which an IP address counts as one that repeats. */
export const newTries = 2;
export const rememberTriesMs = 86_400_000;
/** A later turn is not reserved: the client is refused without one. */
export const longestTurnMs = 30 * minuteMs;
const turnLastsMs = 15 * minuteMs;
const trustedForMs = 90 * 86_400_000;

/** The stored state of a bucket, or of a pair of account and IP address; 0 where there is none. */
export interface GuessRow {
  /** When the bucket is full again; for a pair, its trusted bucket. */
  fullAtMs: number;
  tries: number;
  turnAtMs: number;
  trustedUntilMs: number;
}

export const blankRow: GuessRow = { fullAtMs: 0, tries: 0, turnAtMs: 0, trustedUntilMs: 0 };

export type BucketName = keyof typeof buckets;
export type Shared = Exclude<BucketName, "trusted">;
export type GuessRows = Record<"pair" | Shared, GuessRow>;

export interface Judged {
  /** 0: the guess may be made now. */
  waitMs: number;
  /** The buckets that the guess takes a token from, now or at its turn. */
  paid: BucketName[];
  /** The rows to store; the decision takes effect when they are. */
  rows: GuessRows;
}

export function judgeGuess(rows: GuessRows, nowMs: number): Judged {
  const { pair } = rows;
  if (pair.trustedUntilMs > nowMs) {
    const waitMs = nextTokenAt(pair, "trusted", nowMs) - nowMs;
    return { waitMs, paid: ["trusted"], rows: waitMs > 0 ? rows : pay(rows, ["trusted"], nowMs) };
  }
  const paid: Shared[] = [pair.tries < newTries ? "fresh" : "repeated", "address"];
  const admitted = { ...pair, tries: pair.tries + 1, turnAtMs: 0 };
  if (pair.turnAtMs !== 0 && nowMs < pair.turnAtMs + turnLastsMs) {
    const waitMs = Math.max(0, pair.turnAtMs - nowMs);
    return { waitMs, paid, rows: waitMs > 0 ? rows : { ...rows, pair: admitted } };
  }
  const turnAtMs = Math.max(...paid.map((name) => nextTokenAt(rows[name], name, nowMs)));
  const waitMs = turnAtMs - nowMs;
  if (waitMs > longestTurnMs) return { waitMs, paid, rows };
  return { waitMs, paid, rows: { ...pay(rows, paid, nowMs), pair: waitMs > 0 ? { ...pair, turnAtMs } : admitted } };
}

/** Returns the tokens of a guess that was right, or that sent no code. */
export function takeBack(rows: GuessRows, paid: readonly BucketName[]): GuessRows {
  const after = { ...rows };
  for (const name of paid) {
    const at = name === "trusted" ? "pair" : name;
    after[at] = { ...after[at], fullAtMs: Math.max(0, after[at].fullAtMs - buckets[name].everyMs) };
  }
  if (!paid.includes("trusted")) after.pair = { ...after.pair, tries: Math.max(0, after.pair.tries - 1) };
  return after;
}

export function trust(rows: GuessRows, nowMs: number): GuessRows {
  return { ...rows, pair: { ...rows.pair, tries: 0, turnAtMs: 0, trustedUntilMs: nowMs + trustedForMs } };
}

export function expiryOf({ fullAtMs, tries, turnAtMs, trustedUntilMs }: GuessRow, nowMs: number): number {
  const triesMs = tries > 0 ? nowMs + rememberTriesMs : 0;
  return Math.max(nowMs, fullAtMs, trustedUntilMs, triesMs, turnAtMs === 0 ? 0 : turnAtMs + turnLastsMs);
}

function pay(rows: GuessRows, names: readonly BucketName[], nowMs: number): GuessRows {
  const after = { ...rows };
  for (const name of names) {
    const at = name === "trusted" ? "pair" : name;
    after[at] = { ...after[at], fullAtMs: Math.max(after[at].fullAtMs, nowMs) + buckets[name].everyMs };
  }
  return after;
}

/** Clears times that lie further ahead than any that is stored now: the clock was set back since. */
export function withoutFuture(row: GuessRow, name: BucketName, nowMs: number): GuessRow {
  const { burst, everyMs } = buckets[name];
  const latestMs = nowMs + longestTurnMs;
  return {
    ...row,
    fullAtMs: row.fullAtMs > latestMs + burst * everyMs ? 0 : row.fullAtMs,
    turnAtMs: row.turnAtMs > latestMs ? 0 : row.turnAtMs,
  };
}

/** When the first token is available that is not reserved; now or later. */
function nextTokenAt({ fullAtMs }: GuessRow, name: BucketName, nowMs: number): number {
  const { burst, everyMs } = buckets[name];
  return Math.max(nowMs, Math.max(fullAtMs, nowMs) - (burst - 1) * everyMs);
}
