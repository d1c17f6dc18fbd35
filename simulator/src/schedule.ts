/** Length of one tick: what is due within the same tick runs together, under one timer. */
const tickMs = 5;

/** Runs things later, thousands a second under few timers. Owns its timers: close it. */
export class Schedule {
  readonly #now: () => number;
  readonly #ticks = new Map<number, { timer: NodeJS.Timeout; jobs: (() => void)[] }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Runs `job` once `dueAt` (ms) has come, in order of calls within a tick; never early, never within this call. */
  at(dueAt: number, job: () => void): void {
    const tick = Math.ceil(dueAt / tickMs);
    const planned = this.#ticks.get(tick);
    if (planned) planned.jobs.push(job);
    else this.#open(tick, [job]);
  }

  close(): void {
    for (const { timer } of this.#ticks.values()) clearTimeout(timer);
    this.#ticks.clear();
  }

  #open(tick: number, jobs: (() => void)[]): void {
    const delayMs = Math.min(Math.max(0, tick * tickMs - this.#now()), 2_000_000_000);
    const timer = setTimeout(() => {
      this.#ticks.delete(tick);
      for (const job of jobs) job();
    }, delayMs);
    timer.unref();
    this.#ticks.set(tick, { timer, jobs });
  }
}
