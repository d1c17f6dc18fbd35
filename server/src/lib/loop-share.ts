import type { Clock } from "./clock.ts";

export interface LoopShare {
  /** Runs the job in a later turn and resolves with its result. Callers wait for each job, so few are queued. */
  run<T>(job: () => T): Promise<T>;
}

/** Most jobs in one turn: what their callers do next, in the same turn, is not measured. */
export const maxJobs = 100;

export function openLoopShare(clock: Pick<Clock, "elapsed">, shareMs: number): LoopShare {
  let queued: (() => void)[] = [];

  function work(): void {
    const endMs = clock.elapsed() + shareMs;
    const most = Math.min(queued.length, maxJobs);
    let done = 0;
    do {
      queued[done]!();
      done += 1;
    } while (done < most && clock.elapsed() < endMs);
    queued = queued.slice(done);
    if (queued.length > 0) setImmediate(work);
  }

  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        queued.push(() => {
          try {
            resolve(job());
          } catch (error) {
            reject(error);
          }
        });
        if (queued.length === 1) setImmediate(work);
      }),
  };
}
