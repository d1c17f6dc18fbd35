import type { Clock } from "./clock.ts";
import { faultCode } from "./faults.ts";
import type { Log } from "./postgres.ts";

/** A part of the hub that fails and tries again. */
export interface Trouble {
  part: string;
  /** A SQLSTATE, a system error or the kind of error. */
  code: string;
  since: Date;
  /** The same by `Clock.elapsed`. */
  lastedMs: number;
  failures: number;
  /** Whether it has lasted longer than a short conflict does. */
  isStalled: boolean;
  /** The hub does its work without this part. */
  isMinor: boolean;
}

/** Moments by `Clock.elapsed`. */
type Known = Omit<Trouble, "lastedMs" | "isStalled"> & { startedAt: number; failedAt: number; loggedAt: number };

/** The parts of the hub that fail at present and retry, for `/readyz`, the metrics and the log. */
export interface Troubles {
  /** Reports a failure of a part that retries. Logged at the first one, and then every `logEveryMs`. */
  failed(part: string, error: unknown, more?: { isMinor?: boolean /** How long already. */; lastedMs?: number }): void;
  /** Reports that the part works. Costs nothing while nothing fails. */
  worked(part: string): void;
  list(): Trouble[];
  /** How often each part has failed with each code since the process started. */
  counts(): { part: string; code: string; failures: number }[];
}

/** A conflict or a lost connection takes less, in milliseconds. */
export const stalledAfterMs = 1_000;
/** Between two log lines of the same trouble, in milliseconds. */
export const logEveryMs = 30_000;
/** A part without a further try for this time is forgotten: its work moved to another process. In milliseconds. */
export const forgottenAfterMs = 60_000;

/** Most pairs of part and code that are counted. */
const maxCounts = 1_000;

export function openTroubles({ clock, log }: { clock: Clock; log: Log }): Troubles {
  const troubles = new Map<string, Known>();
  const counts = new Map<string, { part: string; code: string; failures: number }>();

  function count(part: string, code: string): void {
    const key = `${part} ${code}`;
    const counted = counts.get(key) ?? { part, code, failures: 0 };
    counted.failures += 1;
    if (counts.has(key) || counts.size < maxCounts) counts.set(key, counted);
  }

  return {
    failed(part, error, { isMinor = false, lastedMs = 0 } = {}) {
      const now = clock.elapsed();
      const code = faultCode(error);
      const known = troubles.get(part);
      const trouble = known ?? {
        ...{ part, code, since: new Date(clock.now() - lastedMs), failures: 0, isMinor },
        ...{ startedAt: now - lastedMs, failedAt: now, loggedAt: Number.NEGATIVE_INFINITY },
      };
      troubles.set(part, trouble);
      trouble.isMinor = isMinor;
      count(part, code);
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
        const lastedMs = now - startedAt;
        return { part, code, since, lastedMs, failures, isMinor, isStalled: lastedMs > stalledAfterMs };
      });
    },
    counts: () => [...counts.values()],
  };
}
