import type { Clock } from "./clock.ts";
import { faultCode } from "./faults.ts";
import type { Log } from "./postgres.ts";

/** A part of the hub that fails and tries again. */
export interface Trouble {
  part: string;
  /** A SQLSTATE, a system error or the kind of error. */
  code: string;
  since: Date;
  failures: number;
  /** It has lasted longer than a passing conflict does. */
  isStalled: boolean;
  /** The hub does its work without this part. */
  isMinor: boolean;
}

/** Which parts of the hub fail just now. What waits for better times is seen here, in `/readyz` and in the log. */
export interface Troubles {
  /** The part failed and tries again. Logged when it begins, and then every `logEveryMs`. */
  failed(part: string, error: unknown, more?: { isMinor?: boolean }): void;
  /** The part works; costs nothing while nothing fails. */
  worked(part: string): void;
  list(): Trouble[];
}

/** A conflict or a lost connection is over sooner, in milliseconds. */
export const stalledAfterMs = 1_000;
/** Between two log lines of the same trouble, in milliseconds. */
export const logEveryMs = 30_000;
/** A part that tries no more has no trouble any more: its work went to another process. In milliseconds. */
export const forgottenAfterMs = 60_000;

export function openTroubles({ clock, log }: { clock: Clock; log: Log }): Troubles {
  const troubles = new Map<string, Trouble & { startedAt: number; failedAt: number; loggedAt: number }>();
  return {
    failed(part, error, { isMinor = false } = {}) {
      const now = clock.elapsed();
      const code = faultCode(error);
      const known = troubles.get(part);
      const trouble = known ?? {
        ...{ part, code, since: new Date(clock.now()), failures: 0, isStalled: false, isMinor },
        ...{ startedAt: now, failedAt: now, loggedAt: Number.NEGATIVE_INFINITY },
      };
      troubles.set(part, trouble);
      trouble.failures += 1;
      trouble.code = code;
      trouble.failedAt = now;
      if (now - trouble.loggedAt < logEveryMs) return;
      trouble.loggedAt = now;
      const { since, failures } = trouble;
      log.warn({ err: error, part, code, since, failures }, "a part of the hub fails and tries again until it works");
    },
    worked(part) {
      const trouble = troubles.size === 0 ? undefined : troubles.get(part);
      if (trouble === undefined) return;
      troubles.delete(part);
      const { code, since, failures } = trouble;
      log.info({ part, code, since, failures }, "a part of the hub works again");
    },
    list() {
      const now = clock.elapsed();
      for (const [part, { failedAt }] of troubles) if (now - failedAt > forgottenAfterMs) troubles.delete(part);
      return [...troubles.values()].map(({ part, code, since, failures, isMinor, startedAt }) => {
        return { part, code, since, failures, isMinor, isStalled: now - startedAt > stalledAfterMs };
      });
    },
  };
}
