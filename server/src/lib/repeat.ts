import { type Clock, pause } from "./clock.ts";

export interface Repeated {
  /** A run follows at once, or after the one under way and its pause. Any number of calls meanwhile share that run. */
  wake(): void;
  /** Waits for the run under way and for one that was woken, without pauses; starts no other. Safe to call twice. */
  close(): Promise<void>;
}

const failureWaitMs = 10_000;

/** The first time after `everyMs`. After a failure the next run comes within `failureWaitMs`. */
export function repeat(
  clock: Clock,
  everyMs: number,
  work: () => Promise<unknown>,
  onFailure: (error: unknown) => void,
): Repeated {
  return new Repeater({ clock, everyMs, pauseMs: 0, work, onFailure });
}

/** Runs `work` when woken, each run at least `pauseMs` after the end of the one before. `work` must not throw. */
export function repeatWhenWoken(clock: Clock, pauseMs: number, work: () => Promise<void>): Repeated {
  const onFailure = (error: unknown) => {
    throw error;
  };
  return new Repeater({ clock, everyMs: null, pauseMs, work, onFailure });
}

interface RepeaterOptions {
  clock: Clock;
  everyMs: number | null;
  pauseMs: number;
  work: () => Promise<unknown>;
  onFailure: (error: unknown) => void;
}

class Repeater implements Repeated {
  readonly #options: RepeaterOptions;
  readonly #closing = new AbortController();
  #isWoken = false;
  #isRunning = false;
  #ended: Promise<void> = Promise.resolve();
  #cancelNext = () => {};

  constructor(options: RepeaterOptions) {
    this.#options = options;
    this.#schedule(options.everyMs);
  }

  wake(): void {
    this.#isWoken = true;
    if (this.#isRunning || this.#closing.signal.aborted) return;
    this.#isRunning = true;
    this.#cancelNext();
    this.#ended = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelNext();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { clock, everyMs, pauseMs, work, onFailure } = this.#options;
    let hasFailed = false;
    while (this.#isWoken) {
      this.#isWoken = false;
      hasFailed = false;
      await work().catch((error) => {
        hasFailed = true;
        onFailure(error);
      });
      if (pauseMs > 0) await pause(clock, pauseMs, this.#closing.signal);
    }
    this.#isRunning = false;
    this.#schedule(hasFailed && everyMs !== null ? Math.min(everyMs, failureWaitMs) : everyMs);
  }

  #schedule(waitMs: number | null): void {
    if (waitMs === null || this.#closing.signal.aborted) return;
    this.#cancelNext = this.#options.clock.after(waitMs, () => this.wake());
  }
}
