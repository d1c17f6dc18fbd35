import type { Clock } from "./clock.ts";
import { repeat } from "./repeat.ts";
import type { Troubles } from "./troubles.ts";

/** One of the places where a part of the hub has work: a partition, a channel account. */
export interface Place {
  key: number | string;
  /** Any change of it is progress. */
  mark: number;
  /** How much waits there; with 0 it need not move. */
  waiting: number;
  /** Another process works there. */
  isElsewhere?: boolean;
  /** No process works there. */
  isDeserted?: boolean;
}

export interface Watched {
  name: string;
  /** How much longer than `stillMs` it may stand still, in milliseconds. */
  extraMs: number;
  look(): Promise<readonly Place[]>;
}

/** How often it looks, in milliseconds. */
export const lookEveryMs = 5_000;
/** How long a place with work may not move before it counts as a standstill, in milliseconds. */
export const stillMs = 30_000;

/** Work has waited for `stillMs` without any progress. */
export class Standstill extends Error {
  override readonly name = "Standstill";
  readonly code: "NO_CONSUMER" | "NO_PROGRESS";
  constructor(code: Standstill["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Finds parts that report no error and yet do not move: a consumer that hangs, work that no process takes. A part that
 * moves, however slowly, is not reported. The watch counts its own looks, so that time in which the process was
 * suspended or the database did not answer is no standstill.
 */
export function openProgressWatch(
  {
    clock,
    troubles,
    backlog,
  }: {
    clock: Clock;
    troubles: Troubles;
    /** Gets how much waited at the last look, by name. */
    backlog: Map<string, number>;
  },
  watched: readonly Watched[],
): { close(): Promise<void> } {
  const running = watched.map((one) => {
    const { name, extraMs, look } = one;
    const part = `progress of ${name}`;
    const patience = Math.ceil((stillMs + extraMs) / lookEveryMs);
    let known = new Map<Place["key"], { mark: number; looks: number }>();

    async function round(): Promise<void> {
      const places = await look();
      const next: typeof known = new Map();
      for (const { key, mark, waiting } of places) {
        if (waiting === 0) continue;
        const before = known.get(key);
        next.set(key, { mark, looks: before?.mark === mark ? before.looks + 1 : 0 });
      }
      known = next;
      const working = places.filter(({ waiting }) => waiting > 0);
      backlog.set(
        name,
        working.reduce((sum, { waiting }) => sum + waiting, 0),
      );
      const still = working.filter(({ key }) => known.get(key)!.looks >= patience);
      if (still.length === 0) return troubles.worked(part);
      // The process that works there reports it too; it makes other processes unready only when nothing moves anywhere.
      const isMinor = still.length < working.length && still.every(({ isElsewhere }) => isElsewhere);
      const lastedMs = Math.max(...still.map(({ key }) => known.get(key)!.looks)) * lookEveryMs;
      troubles.failed(part, standstill(name, still, lastedMs), { isMinor, lastedMs });
    }

    return repeat(clock, lookEveryMs, round, () => {
      // Another part reports why the look failed; it says nothing about progress.
      known = new Map();
    });
  });
  return {
    close: async () => void (await Promise.all(running.map((one) => one.close()))),
  };
}

function standstill(name: string, still: readonly Place[], lastedMs: number): Standstill {
  const code = still.some(({ isDeserted }) => isDeserted) ? "NO_CONSUMER" : "NO_PROGRESS";
  const keys = still.map(({ key }) => key).slice(0, maxNamed);
  const seconds = Math.round(lastedMs / 1_000);
  return new Standstill(code, `${name}: work waits at ${keys.join(", ")}, and nothing has moved for ${seconds} s.`);
}

/** Places named in a log line. */
const maxNamed = 10;
