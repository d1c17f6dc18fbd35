/**
 * How much may be under way at once so that each waits about `targetMs`. By Little's law what is under way is the rate
 * times the wait: the wait to expect is known before anyone has waited for it, and the limit is the rate times the
 * target, on any machine.
 *
 * The rate is measured in windows, as in Netflix' concurrency-limits. As CoDel does with waits, the limit is lowered only
 * when more than it allows was under way all of the time: a burst is no overload. It is raised while it is used, and at
 * most doubled, because a server that is given little has a low rate. While most requests are quick nothing is lowered:
 * then those that are under way are slow by themselves, such as requests that ask a platform.
 */
export interface ConcurrencyLimit {
  /** Whether one more may begin. */
  hasRoom(): boolean;
  /**
   * One begins. Call the returned function once, when it has ended. `dropped`: it was refused further inside, because too
   * much waits there: then no more begin than are under way now.
   */
  begin(): (how?: "dropped") => void;
  readonly underWay: number;
  readonly limit: number;
}

export interface ConcurrencyLimitOptions {
  /** Milliseconds of a clock that never goes back. */
  elapsed: () => number;
  targetMs?: number | undefined;
}

/** `least` may always be under way, however slow the server is. */
export const limits = { least: 50, first: 2_000, most: 10_000 };
const windowMs = 200;
/** What is committed together ends together, so that in one window nothing may have ended: so many are judged as one. */
const judgedWindows = 4;
/** Fewer waits than this say nothing: then the window is longer. */
const fewestWaits = 10;
/** More are counted, and not looked at. */
const mostWaits = 2_000;
/** A limit is in use when so much of it was. */
const usedShare = 0.9;
/** Requests are quick while their median is below this share of the target. */
const quickShare = 0.25;

interface Window {
  ended: number;
  ms: number;
  /** The fewest that were under way. */
  lowest: number;
}

export function openConcurrencyLimit({ elapsed, targetMs = 500 }: ConcurrencyLimitOptions): ConcurrencyLimit {
  let limit = limits.first;
  let underWay = 0;
  /** The most and the fewest under way in this window. */
  let peak = 0;
  let lowest = 0;
  let ended = 0;
  let waits: number[] = [];
  let windowFrom = elapsed();
  const windows: Window[] = [];

  function adapt(now: number): void {
    windows.push({ ended, ms: now - windowFrom, lowest });
    if (windows.length > judgedWindows) windows.shift();
    const fitting = Math.max(limits.least, Math.ceil(rateOf(windows) * targetMs));
    const isTooMuch = windows.length === judgedWindows && windows.every((one) => one.lowest > fitting);
    if (isTooMuch && median(waits) >= targetMs * quickShare) limit = Math.min(limit, fitting);
    else if (peak >= limit * usedShare) limit = Math.max(limit, Math.min(2 * limit, fitting, limits.most));
    waits = [];
    ended = 0;
    peak = underWay;
    lowest = underWay;
    windowFrom = now;
  }

  return {
    hasRoom() {
      // Not when one ends: half of what ends together would look like a slow server.
      const now = elapsed();
      if (now - windowFrom >= windowMs && waits.length >= fewestWaits) adapt(now);
      return underWay < limit;
    },
    begin() {
      const from = elapsed();
      underWay += 1;
      peak = Math.max(peak, underWay);
      return (how) => {
        underWay -= 1;
        lowest = Math.min(lowest, underWay);
        if (how === "dropped") {
          limit = Math.max(limits.least, Math.min(limit, underWay));
          return;
        }
        ended += 1;
        if (waits.length < mostWaits) waits.push(elapsed() - from);
      };
    },
    get underWay() {
      return underWay;
    },
    get limit() {
      return limit;
    },
  };
}

/** How many ended in a millisecond. */
function rateOf(windows: readonly Window[]): number {
  return sum(windows.map(({ ended }) => ended)) / sum(windows.map(({ ms }) => ms));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}
