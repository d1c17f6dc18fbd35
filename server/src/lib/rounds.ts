import { type Clock, pause } from "./clock.ts";

export interface Rounds {
  /** There is something to do: a round follows, at once or after the pause. */
  ask(): void;
  /** Ends the pause, and waits until every round that was asked for has run. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Work that many ask for and that is done for all of them at once: the first round starts as soon as it is asked for,
 * the next one `pauseMs` after the one before has ended, and never two at a time. `round` takes what has gathered and
 * must not throw.
 */
export function openRounds(clock: Clock, pauseMs: number, round: () => Promise<void>): Rounds {
  const closing = new AbortController();
  let isAsked = false;
  let running: Promise<void> | null = null;

  async function run(): Promise<void> {
    while (isAsked) {
      isAsked = false;
      await round();
      await pause(clock, pauseMs, closing.signal);
    }
    running = null;
  }

  return {
    ask() {
      isAsked = true;
      running ??= run();
    },
    async close() {
      closing.abort();
      await running;
    },
  };
}
