/** Names what a start waits for from now on: "PostgreSQL to start". */
export type WaitFor = (what: string) => void;

export interface StartProgress {
  waitFor: WaitFor;
  end(): void;
}

/** How long each part of a start may take. A busy machine needs longer than usual. */
export const startTimeoutMs = 60_000;
/** How long a start may be silent, and how often it repeats what it waits for. */
const silenceMs = 3_000;
const repeatMs = 5_000;
/** A shorter wait is over before a person has read its name. */
const shortestWaitMs = 1_000;
const tickMs = 250;

/**
 * Prints what a start waits for after 3 s of silence, and again every 5 s, with the time since the start of the wait;
 * nothing for a wait that has only begun.
 */
export function openStartProgress(
  print: (line: string) => void,
  first: string,
  elapsed = () => performance.now(),
): StartProgress {
  let what = first;
  let waitingSince = elapsed();
  let silentUntil = waitingSince + silenceMs;
  const timer = setInterval(() => {
    const now = elapsed();
    if (now < silentUntil || now < waitingSince + shortestWaitMs) return;
    silentUntil = now + repeatMs;
    print(`Starting: waiting for ${what} (${Math.floor((now - waitingSince) / 1000)} s).`);
  }, tickMs).unref();
  return {
    waitFor(next) {
      if (next === what) return;
      what = next;
      waitingSince = elapsed();
    },
    end: () => clearInterval(timer),
  };
}
