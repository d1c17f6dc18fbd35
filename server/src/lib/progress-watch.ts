import type { Clock } from "./clock.ts";
import { repeat } from "./repeat.ts";
import type { Troubles } from "./troubles.ts";

/** One of the places where a part of the hub has work: a partition, a channel account. */
export interface Place {
  key: number | string;
  /** Any change of it is progress. */
  mark: number;
  /** What waits there; with 0 it need not move. */
  waiting: number;
  /** Another process works there. */
  isElsewhere?: boolean;
  /** No process works there. */
  isDeserted?: boolean;
}

export interface Watched {
  name: string;
  /** How long it may rightly stand still, beyond `stillMs`, in milliseconds. */
  extraMs: number;
  look(): Promise<readonly Place[]>;
}

export interface ProgressWatch {
  /** What waited at the last look. */
  waiting(): { name: string; waiting: number }[];
  close(): Promise<void>;
}

/** How often it looks, in milliseconds. */
export const lookEveryMs = 5_000;
/** A place that has work and does not move for so long stands still, in milliseconds. */
export const stillMs = 30_000;

/** Work waits, and none of it was done for `stillMs`. */
export class Standstill extends Error {
  override readonly name = "Standstill";
  readonly code: "NO_CONSUMER" | "NO_PROGRESS";
  constructor(code: Standstill["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Finds parts that fail nowhere and yet do not move: a consumer that hangs, work that no process takes. One that moves,
 * however slowly, is left alone. It counts its own looks, so that a process that was suspended, or that the database
 * could not answer, does not take that time for a standstill.
 */
export function openProgressWatch(
  { clock, troubles }: { clock: Clock; troubles: Troubles },
  watched: readonly Watched[],
): ProgressWatch {
  const lastWaiting = new Map<string, number>();
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
      lastWaiting.set(
        name,
        working.reduce((sum, { waiting }) => sum + waiting, 0),
      );
      const still = working.filter(({ key }) => known.get(key)!.looks >= patience);
      if (still.length === 0) return troubles.worked(part);
      // The process that works there says so too; the others take part in it only when nothing moves anywhere.
      const isMinor = still.length < working.length && still.every(({ isElsewhere }) => isElsewhere);
      const lastedMs = Math.max(...still.map(({ key }) => known.get(key)!.looks)) * lookEveryMs;
      troubles.failed(part, standstill(name, still, lastedMs), { isMinor, lastedMs });
    }

    return repeat(clock, lookEveryMs, round, () => {
      // Why it cannot look is said elsewhere; meanwhile nothing is known to stand still.
      known = new Map();
    });
  });
  return {
    waiting: () => [...lastWaiting].map(([name, waiting]) => ({ name, waiting })),
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
