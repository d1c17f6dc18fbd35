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
  const inTurn = limiter(concurrency, queueSize);

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
  const waiting: (() => void)[] = [];
  return async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (running < concurrency) running += 1;
    else {
      if (waiting.length >= queueSize) throw tooManyLogIns();
      // Whoever ends hands its place over, so `running` stays as it is.
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}

function tooManyLogIns(): RequestError {
  return new RequestError("OVERLOADED", "Too many passwords are being checked right now; try again in a moment.", {
    retryAfterSeconds: 2,
  });
}
