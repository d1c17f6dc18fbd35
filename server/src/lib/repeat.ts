import type { Clock } from "./clock.ts";

export interface Repeated {
  /** A run follows at once, or after the one under way and its pause. Any number of calls meanwhile share that run. */
  wake(): void;
  /** Waits for the run under way and for one that was woken, without pauses; starts no other. Safe to call twice. */
  close(): Promise<void>;
}

const longestFailureWaitMs = 10_000;

/** The first time after `everyMs`. After a failure the next run comes within `failureWaitMs`. */
export function repeat(
  clock: Clock,
  everyMs: number,
  work: () => Promise<unknown>,
  onFailure: (error: unknown) => void,
  failureWaitMs: number = Math.min(everyMs, longestFailureWaitMs),
): Repeated {
  return new Repeater({ clock, everyMs, pauseMs: 0, work, onFailure, failureWaitMs });
}

/**
 * Runs `work` when woken, each run at least `pauseMs` after the end of the one before. A run that failed is repeated
 * after `failureWaitMs`; without `onFailure` a failure is a bug that ends the process.
 */
export function repeatWhenWoken(
  clock: Clock,
  pauseMs: number,
  work: () => Promise<void>,
  onFailure: (error: unknown) => void = rethrow,
  failureWaitMs: number = pauseMs,
): Repeated {
  return new Repeater({ clock, everyMs: null, pauseMs, work, onFailure, failureWaitMs });
}

function rethrow(error: unknown): never {
  throw error;
}

interface RepeaterOptions {
  clock: Clock;
  everyMs: number | null;
  pauseMs: number;
  work: () => Promise<unknown>;
  onFailure: (error: unknown) => void;
  failureWaitMs: number;
}

class Repeater implements Repeated {
  readonly #options: RepeaterOptions;
  #isClosing = false;
  #isWoken = false;
  #isRunning = false;
  #ended: Promise<void> = Promise.resolve();
  #cancelNext = () => {};
  #endPause = () => {};

  constructor(options: RepeaterOptions) {
    this.#options = options;
    if (options.everyMs !== null) this.#schedule(options.everyMs);
  }

  wake(): void {
    this.#isWoken = true;
    if (this.#isRunning || this.#isClosing) return;
    this.#isRunning = true;
    this.#cancelNext();
    this.#ended = this.#run();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#cancelNext();
    this.#endPause();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { everyMs, pauseMs, work, onFailure, failureWaitMs } = this.#options;
    let hasFailed = false;
    while (this.#isWoken) {
      this.#isWoken = false;
      hasFailed = false;
      await work().catch((error) => {
        hasFailed = true;
        onFailure(error);
      });
      if (everyMs !== null) continue;
      if (hasFailed && !this.#isClosing) this.#isWoken = true;
      await this.#pause(hasFailed ? failureWaitMs : pauseMs);
    }
    this.#isRunning = false;
    if (everyMs !== null) this.#schedule(hasFailed ? failureWaitMs : everyMs);
  }

  /** Without an abort signal, whose listeners cost more than the timer. */
  #pause(waitMs: number): Promise<void> {
    if (this.#isClosing || waitMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(waitMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }

  #schedule(waitMs: number): void {
    if (this.#isClosing) return;
    this.#cancelNext = this.#options.clock.after(waitMs, () => this.wake());
  }
}
