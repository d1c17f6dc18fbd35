import { type Clock, pause } from "./clock.ts";

/**
 * Calls `work` again and again, a pause before each call and one call at a time. A failure is told and does not end it.
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
    for (;;) {
      await pause(clock, pauseMs, closing.signal);
      if (closing.signal.aborted) return;
      await work().catch(onFailure);
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
