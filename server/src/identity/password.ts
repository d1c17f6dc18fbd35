import { availableParallelism } from "node:os";
import { RequestError } from "../errors.ts";
import { openPasswordThreads, type PasswordWork } from "./password-threads.ts";

/** Slow on purpose, and bounded: the work of many log-ins at once waits in a short line or is refused. */
export interface PasswordHasher {
  /** A PHC string with its own salt and parameters. */
  hash(password: string): Promise<string>;
  verify(hashed: string, password: string): Promise<boolean>;
  /** Costs what `verify` costs and is never true: for a user that does not exist, so that time does not tell. */
  verifyNothing(password: string): Promise<false>;
  /**
   * Waits for its turn and then does `work`, which checks a password by the function that it is given, once. Others wait
   * until it ends: what it reads before and writes after cannot be overtaken by those behind it in line.
   */
  inTurn<T>(work: (verify: VerifyPassword) => Promise<T>): Promise<T>;
  /** Throws OVERLOADED when one more would not be taken: before anything else is asked on its behalf. */
  requireRoom(): void;
}

/** As `verify`; null costs the same and is never true. */
export type VerifyPassword = (hashed: string | null, password: string) => Promise<boolean>;

export interface PasswordHasherOptions {
  /** How many are hashed at the same time; each takes a thread and 19 MiB for about 30 ms. */
  concurrency: number;
  /** How many may wait; one more is refused with OVERLOADED. */
  queueSize: number;
}

/**
 * Passwords are compared after Unicode normalisation (NFKC), so that the same keys work on every keyboard and system.
 * Every method throws OVERLOADED when the queue is full.
 */
export function openPasswordHasher({ concurrency, queueSize }: PasswordHasherOptions): PasswordHasher {
  const ask = openPasswordThreads(concurrency);
  const { inTurn, requireRoom } = limiter(concurrency, queueSize);

  async function verify(hashed: string | null, password: string): Promise<boolean> {
    const answer = await askWell({ kind: "verify", hashed, password: normalized(password) });
    return "isRight" in answer && answer.isRight;
  }

  async function askWell(work: PasswordWork) {
    const answer = await ask(work);
    if ("failure" in answer) throw new Error(`a password could not be hashed: ${answer.failure}`);
    return answer;
  }

  return {
    hash: (password) =>
      inTurn(async () => {
        const answer = await askWell({ kind: "hash", password: normalized(password) });
        return "hashed" in answer ? answer.hashed : "";
      }),
    verify: (hashed, password) => inTurn(() => verify(hashed, password)),
    async verifyNothing(password) {
      await inTurn(() => verify(null, password));
      return false;
    },
    inTurn: (work) => inTurn(() => work(verify)),
    requireRoom,
  };
}

/** Half of the processors, and no more than log-ins ever need. */
export function hashingThreads(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 2)));
}

function normalized(password: string): string {
  return password.normalize("NFKC");
}

function limiter(concurrency: number, queueSize: number) {
  let running = 0;
  let refused = 0;
  const waiting: (() => void)[] = [];

  function requireRoom(): void {
    if (running < concurrency || waiting.length < queueSize) return;
    // Who is refused at the same moment comes back at different ones.
    refused += 1;
    throw tooManyLogIns(1 + (refused % longestRetrySeconds));
  }

  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    requireRoom();
    if (running < concurrency) running += 1;
    // Whoever ends hands its place over, so `running` stays as it is.
    else await new Promise<void>((resolve) => waiting.push(resolve));
    const begunMs = performance.now();
    try {
      return await work();
    } finally {
      setTimeout(handOver, Math.min((performance.now() - begunMs) * restFactor, longestRestMs));
    }
  }

  function handOver(): void {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }

  return { inTurn, requireRoom };
}

/**
 * After each password its place rests so many times as long as it worked: a crowd that logs in takes a part of the
 * machine and never all of it, and those who are logged in already hardly notice.
 */
const restFactor = 2;
const longestRestMs = 200;

/** Later than a full line takes, in seconds. */
const longestRetrySeconds = 8;

function tooManyLogIns(retryAfterSeconds: number): RequestError {
  const message = "Too many passwords are being checked right now; try again in a moment.";
  return new RequestError("OVERLOADED", message, { retryAfterSeconds });
}
