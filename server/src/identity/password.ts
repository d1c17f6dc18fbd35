import { hash, verify } from "@node-rs/argon2";
import { RequestError } from "../errors.ts";

/** Slow on purpose, and bounded: the work of many log-ins at once waits in a short line or is refused. */
export interface PasswordHasher {
  /** A PHC string with its own salt and parameters. */
  hash(password: string): Promise<string>;
  verify(hashed: string, password: string): Promise<boolean>;
  /** Costs what `verify` costs and is never true: for a user that does not exist, so that time does not tell. */
  verifyNothing(password: string): Promise<false>;
}

export interface PasswordHasherOptions {
  /** How many are hashed at the same time; each takes a core and 19 MiB for about 30 ms. */
  concurrency: number;
  /** How many may wait; one more is refused with OVERLOADED. */
  queueSize: number;
}

/** Argon2id, 19 MiB, 2 passes, 1 lane. Source: OWASP Password Storage Cheat Sheet. Argon2id is the library's default. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** A well-formed hash of nothing that anyone knows. */
const nobodysHash = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=${cost.parallelism}$Y2hhdDRhbGwtbm9ib2R5$${"A".repeat(43)}`;

/**
 * Passwords are compared after Unicode normalisation (NFKC), so that the same keys work on every keyboard and system.
 * Every method throws OVERLOADED when the queue is full.
 */
export function openPasswordHasher({ concurrency, queueSize }: PasswordHasherOptions): PasswordHasher {
  const inTurn = limiter(concurrency, queueSize);
  return {
    hash: (password) => inTurn(() => hash(normalized(password), cost)),
    verify: (hashed, password) => inTurn(() => verify(hashed, normalized(password))),
    async verifyNothing(password) {
      await inTurn(() => verify(nobodysHash, normalized(password)));
      return false;
    },
  };
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
