import type { Clock } from "./clock.ts";
import { repeat } from "./repeat.ts";
import type { Troubles } from "./troubles.ts";

export interface Place {
  key: number | string;
  /** Any change of it is progress. */
  mark: number;
  waiting: number;
  isElsewhere?: boolean;
  isDeserted?: boolean;
}

export interface Watched {
  name: string;
  extraMs: number;
  check(): Promise<readonly Place[]>;
}

export const checkEveryMs = 5_000;
/** Waiting work without progress for this long is a standstill. */
export const stillMs = 30_000;

const maxNamed = 10;

class Standstill extends Error {
  override readonly name = "Standstill";
  readonly code: "NO_CONSUMER" | "NO_PROGRESS";

  constructor(part: string, still: readonly Place[], lastedMs: number) {
    const keys = still.map(({ key }) => key).slice(0, maxNamed);
    const seconds = Math.round(lastedMs / 1_000);
    super(`${part}: work waits at ${keys.join(", ")}, and nothing has moved for ${seconds} s.`);
    this.code = still.some(({ isDeserted }) => isDeserted) ? "NO_CONSUMER" : "NO_PROGRESS";
  }
}

/** Counts time in checks, so that a suspended process or an unreachable database is not a standstill. */
export function openProgressWatch(
  {
    clock,
    troubles,
    backlog,
  }: {
    clock: Clock;
    troubles: Troubles;
    backlog: Map<string, number>;
  },
  watched: readonly Watched[],
): { close(): Promise<void> } {
  const running = watched.map((one) => {
    const { name, extraMs, check } = one;
    const part = `progress of ${name}`;
    const patience = Math.ceil((stillMs + extraMs) / checkEveryMs);
    let known = new Map<Place["key"], { mark: number; checks: number }>();

    async function round(): Promise<void> {
      const places = await check();
      const next: typeof known = new Map();
      for (const { key, mark, waiting } of places) {
        if (waiting === 0) continue;
        const before = known.get(key);
        next.set(key, { mark, checks: before?.mark === mark ? before.checks + 1 : 0 });
      }
      known = next;
      const working = places.filter(({ waiting }) => waiting > 0);
      backlog.set(
        name,
        working.reduce((sum, { waiting }) => sum + waiting, 0),
      );
      const still = working.filter(({ key }) => known.get(key)!.checks >= patience);
      if (still.length === 0) return troubles.worked(part);
      // The process that works there reports it too. Others become unready only when nothing makes progress anywhere.
      const isMinor = still.length < working.length && still.every(({ isElsewhere }) => isElsewhere);
      const lastedMs = Math.max(...still.map(({ key }) => known.get(key)!.checks)) * checkEveryMs;
      troubles.failed(part, new Standstill(name, still, lastedMs), { isMinor, lastedMs });
    }

    return repeat(clock, checkEveryMs, round, () => {
      // Another part reports the failure, which says nothing about progress.
      known = new Map();
    });
  });
  return {
    close: async () => void (await Promise.all(running.map((one) => one.close()))),
  };
}
