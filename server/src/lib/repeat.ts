import { type Clock, pause } from "./clock.ts";

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
  readonly #closing = new AbortController();
  #isWoken = false;
  #isRunning = false;
  #ended: Promise<void> = Promise.resolve();
  #cancelNext = () => {};

  constructor(options: RepeaterOptions) {
    this.#options = options;
    if (options.everyMs !== null) this.#schedule(options.everyMs);
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
    const { clock, everyMs, pauseMs, work, onFailure, failureWaitMs } = this.#options;
    const { signal } = this.#closing;
    let hasFailed = false;
    while (this.#isWoken) {
      this.#isWoken = false;
      hasFailed = false;
      await work().catch((error) => {
        hasFailed = true;
        onFailure(error);
      });
      if (everyMs !== null) continue;
      if (hasFailed && !signal.aborted) this.#isWoken = true;
      await pause(clock, hasFailed ? failureWaitMs : pauseMs, signal);
    }
    this.#isRunning = false;
    if (everyMs !== null) this.#schedule(hasFailed ? failureWaitMs : everyMs);
  }

  #schedule(waitMs: number): void {
    if (this.#closing.signal.aborted) return;
    this.#cancelNext = this.#options.clock.after(waitMs, () => this.wake());
  }
}
