import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";

/** Frames of one client: so many a second on average, and so many at once after a pause. Others are refused. */
const framesPerSecond = 20;
const frameBurst = 50;
/** Refused frames without a pause, as long as one in which it may send all at once again, after which a client is cut off. */
const maxRefused = 200;
/** Frames of one client that may wait for those before them. */
const maxWaitingFrames = 64;

/** How many frames the client of one socket may send. */
export class FrameQuota {
  readonly #clock: Clock;
  /** Frames that it may send now, as of `#refilledAt`. */
  #tokens = frameBurst;
  #refilledAt: number;
  #refused = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#refilledAt = clock.elapsed();
  }

  /** Counts a frame that arrives while `waiting` others wait. Returns why it is refused, or null. */
  take(waiting: number): RequestError | null {
    const now = this.#clock.elapsed();
    const refilled = ((now - this.#refilledAt) / 1_000) * framesPerSecond;
    this.#tokens = Math.min(frameBurst, this.#tokens + refilled);
    this.#refilledAt = now;
    // Not with every frame that is let in: a client that never stops would have one let in now and then, for ever.
    if (this.#tokens === frameBurst) this.#refused = 0;
    if (this.#tokens < 1) return tooMany(`A socket may send ${framesPerSecond} frames a second: slow down.`);
    this.#tokens -= 1;
    if (waiting < maxWaitingFrames) return null;
    return tooMany("Too many frames wait for those before them: slow down.");
  }

  /** Counts a refused frame. Returns whether the client is to be cut off. */
  refuse(): boolean {
    this.#refused += 1;
    return this.#refused > maxRefused;
  }
}

function tooMany(message: string): RequestError {
  return new RequestError("RATE_LIMIT_EXCEEDED", message);
}
