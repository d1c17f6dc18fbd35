/**
 * Limits the requests under way so that each waits about `targetMs`. By Little's law their number is the rate times the
 * wait, so the limit is the measured rate times the target, on any machine. The rate is measured in windows, as in
 * Netflix' concurrency-limits. The limit falls only when it was exceeded during a whole window, as in CoDel, so that a
 * burst is not overload. It rises, at most doubling, while it is used, since an idle server has a low rate. While most
 * requests are quick it does not fall: the slow ones wait for something else, such as a platform.
 */
export interface ConcurrencyLimit {
  hasRoom(): boolean;
  /** Call the returned function once. `dropped`: an inner queue was full, so the limit falls to those under way. */
  begin(): (how?: "dropped") => void;
  readonly underWay: number;
  readonly limit: number;
}

interface ConcurrencyLimitOptions {
  elapsed: () => number;
  targetMs?: number | undefined;
}

/** `least` may always be under way. */
export const limits = { least: 50, first: 2_000, most: 10_000 };
const windowMs = 200;
/** Windows judged together: the requests of one commit end together, so a single window may have none. */
const judgedWindows = 4;
const fewestWaits = 10;
const mostWaits = 2_000;
const usedShare = 0.9;
const quickShare = 0.25;

interface Window {
  ended: number;
  ms: number;
  lowest: number;
}

export function openConcurrencyLimit({ elapsed, targetMs = 500 }: ConcurrencyLimitOptions): ConcurrencyLimit {
  let limit = limits.first;
  let underWay = 0;
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
      // Not when a request ends: half of a group that ends together would look like a slow server.
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

function rateOf(windows: readonly Window[]): number {
  return sum(windows.map(({ ended }) => ended)) / sum(windows.map(({ ms }) => ms));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!;
}
