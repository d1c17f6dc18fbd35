import { type Clock, pause } from "./clock.ts";

/** The longest pause after a failure, in milliseconds. */
const failurePauseMs = 10_000;

/**
 * Calls `work` again and again, a pause before each call and one call at a time. A failure is reported and does not end it:
 * the next call comes after `failurePauseMs` at the latest.
 * `close` waits for the call under way, and makes no other.
 */
export function repeat(
  clock: Clock,
  pauseMs: number,
  work: () => Promise<unknown>,
  onFailure: (error: unknown) => void,
): { close(): Promise<void> } {
  const closing = new AbortController();
  const run = async () => {
    for (let hasFailed = false; ; ) {
      await pause(clock, hasFailed ? Math.min(pauseMs, failurePauseMs) : pauseMs, closing.signal);
      if (closing.signal.aborted) return;
      hasFailed = false;
      await work().catch((error) => {
        hasFailed = true;
        onFailure(error);
      });
    }
  };
  const running = run();
  return {
    async close() {
      closing.abort();
      await running;
    },
  };
}
