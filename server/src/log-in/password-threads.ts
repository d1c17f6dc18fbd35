import { Worker } from "node:worker_threads";

export type PasswordWork =
  | { kind: "hash"; password: string }
  | { kind: "verify"; hashed: string | null; password: string };

export type PasswordAnswer = { hashed: string } | { isRight: boolean } | { failure: string };

/**
 * Threads with a low priority, so that the event loop and the database go first; not Node's own pool, where files and
 * signatures would wait behind hashes. Each does one thing at a time; the caller sends no more work at once than there
 * are threads. They start when first needed and keep no process alive.
 */
export function openPasswordThreads(size: number): (work: PasswordWork) => Promise<PasswordAnswer> {
  const idle = Array.from({ length: size }, openPasswordThread);
  return async (work) => {
    const thread = idle.pop();
    if (thread === undefined) throw new Error("more concurrent passwords than threads");
    try {
      return await thread.ask(work);
    } finally {
      idle.push(thread);
    }
  };
}

/** An idle thread ends after this time to free its memory, in milliseconds. */
const idleMs = 5_000;

function openPasswordThread() {
  let worker: Worker | undefined;
  let waiting: PromiseWithResolvers<PasswordAnswer> | undefined;
  let idleTimer: NodeJS.Timeout | undefined;

  function start(): Worker {
    const started = new Worker(new URL("./password-thread.ts", import.meta.url), { env: {}, execArgv: [] });
    started.on("message", (answer: PasswordAnswer) => waiting?.resolve(answer));
    const fail = (error: Error) => {
      if (worker !== started) return;
      worker = undefined;
      waiting?.reject(error);
    };
    started.on("error", fail);
    started.on("exit", (code) => fail(new Error(`the password thread exited with ${code}`)));
    return started;
  }

  function end(): void {
    const ending = worker;
    worker = undefined;
    void ending?.terminate();
  }

  return {
    async ask(work: PasswordWork): Promise<PasswordAnswer> {
      clearTimeout(idleTimer);
      waiting = Promise.withResolvers<PasswordAnswer>();
      worker ??= start();
      // Only work under way keeps the process alive.
      worker.ref();
      worker.postMessage(work);
      try {
        return await waiting.promise;
      } finally {
        waiting = undefined;
        worker?.unref();
        idleTimer = setTimeout(end, idleMs).unref();
      }
    },
  };
}
