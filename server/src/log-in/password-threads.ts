import { Worker } from "node:worker_threads";

/** What a thread is asked; `hashed: null` costs what a hash costs and is never right. */
export type PasswordWork =
  | { kind: "hash"; password: string }
  | { kind: "verify"; hashed: string | null; password: string };

export type PasswordAnswer = { hashed: string } | { isRight: boolean } | { failure: string };

/**
 * Threads that hash with a low priority, so that the event loop and the database go first, and not in Node's own pool,
 * where files and signatures would wait behind them. Each does one thing at a time; the caller asks no more at once than
 * there are. They start when they are first needed and keep no process alive.
 */
export function openPasswordThreads(size: number): (work: PasswordWork) => Promise<PasswordAnswer> {
  const idle = Array.from({ length: size }, openPasswordThread);
  return async (work) => {
    const thread = idle.pop();
    if (thread === undefined) throw new Error("more passwords at once than threads");
    try {
      return await thread.ask(work);
    } finally {
      idle.push(thread);
    }
  };
}

/** A thread that has nothing to do for so long gives its memory back, in milliseconds. */
const idleMs = 5_000;

function openPasswordThread() {
  let worker: Worker | undefined;
  let waiting: PromiseWithResolvers<PasswordAnswer> | undefined;
  let rest: NodeJS.Timeout | undefined;

  function start(): Worker {
    const started = new Worker(new URL("./password-thread.ts", import.meta.url), { env: {}, execArgv: [] });
    started.on("message", (answer: PasswordAnswer) => waiting?.resolve(answer));
    const fail = (error: Error) => {
      if (worker !== started) return;
      // The next question starts another.
      worker = undefined;
      waiting?.reject(error);
    };
    started.on("error", fail);
    started.on("exit", (code) => fail(new Error(`the thread that hashes passwords ended with ${code}`)));
    return started;
  }

  function end(): void {
    const ending = worker;
    worker = undefined;
    void ending?.terminate();
  }

  return {
    async ask(work: PasswordWork): Promise<PasswordAnswer> {
      clearTimeout(rest);
      waiting = Promise.withResolvers<PasswordAnswer>();
      worker ??= start();
      // Whoever waits for a password keeps the process alive until it is hashed, and nothing else does.
      worker.ref();
      worker.postMessage(work);
      try {
        return await waiting.promise;
      } finally {
        waiting = undefined;
        worker?.unref();
        rest = setTimeout(end, idleMs).unref();
      }
    },
  };
}
