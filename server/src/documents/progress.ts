import { systemClock } from "../lib/clock.ts";
import type { DocumentProgress } from "./process-message.ts";

/** Reports what is done, at most ten times a second; the last value of a burst may be left out. */
export class Progress {
  readonly #report: (progress: DocumentProgress) => void;
  #current: DocumentProgress = { done: 0, total: 1 };
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(report: (progress: DocumentProgress) => void) {
    this.#report = report;
  }

  set(done: number, total: number): void {
    this.#current = { done, total };
    this.alive();
  }

  /** Within a part: the work is not stuck. */
  alive(): void {
    const now = systemClock.elapsed();
    if (now - this.#reportedAt < reportEveryMs) return;
    this.#reportedAt = now;
    this.#report(this.#current);
  }
}

const reportEveryMs = 100;
