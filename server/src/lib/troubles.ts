import type { Clock } from "./clock.ts";
import { faultCode } from "./faults.ts";
import type { Log } from "./postgres.ts";

interface Trouble {
  part: string;
  code: string;
  since: Date;
  lastedMs: number;
  failures: number;
  isStalled: boolean;
  /** The hub works without this part. */
  isMinor: boolean;
}

type Known = Omit<Trouble, "lastedMs" | "isStalled"> & { startedAt: number; failedAt: number; loggedAt: number };

export interface Troubles {
  failed(part: string, error: unknown, more?: { isMinor?: boolean; lastedMs?: number }): void;
  worked(part: string): void;
  list(): Trouble[];
  counts(): { part: string; code: string; failures: number }[];
}

/** Conflicts and lost connections are shorter. */
const stalledAfterMs = 1_000;
const logEveryMs = 30_000;
/** After this long without a try, the work has moved to another process. */
const forgottenAfterMs = 60_000;

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
