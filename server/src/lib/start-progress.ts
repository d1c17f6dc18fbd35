/** Names what the start waits for from now on, such as "PostgreSQL to start". */
export type WaitFor = (what: string) => void;

export const startTimeoutMs = 60_000;
const silenceMs = 3_000;
const repeatMs = 5_000;
const shortestWaitMs = 1_000;
const tickMs = 250;

/** Prints what a start waits for after 3 s of silence and every 5 s, with the time since the start of the wait. */
export function openStartProgress(
  print: (line: string) => void,
  first: string,
  elapsed = () => performance.now(),
): { waitFor: WaitFor; end(): void } {
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
