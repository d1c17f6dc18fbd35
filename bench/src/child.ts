import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { moved, reportMovements } from "./movement.ts";

/** A program of this bench in its own process, so that what it costs is not mixed with what is measured. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Sends an order and waits for its result. One at a time. */
  ask<Result>(order: unknown): Promise<Result>;
  post(order: unknown): void;
}

type Reply =
  | { kind: "ready" }
  | { kind: "moved"; what: string }
  | { kind: "result"; result: unknown }
  | { kind: "error"; error: string };

/** `program` is a module beside this one that calls `serve`. It ends when this process ends, also when that is killed. */
export async function startChild(program: string): Promise<Child> {
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  let waiting: PromiseWithResolvers<unknown> | null = Promise.withResolvers();
  const ended = new Error(`The bench's process ${program} ended unexpectedly.`);
  child.once("exit", () => waiting?.reject(ended));
  child.on("message", (reply: Reply) => {
    moved(reply.kind === "moved" ? reply.what : `a reply of ${program}`);
    if (reply.kind === "moved") return;
    const { resolve, reject } = waiting!;
    waiting = null;
    if (reply.kind === "error") reject(new Error(reply.error));
    else resolve(reply.kind === "result" ? reply.result : undefined);
  });
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await waiting.promise;
  return {
    pid: child.pid!,
    post: (order) => void child.send(order as object),
    ask<Result>(order: unknown) {
      if (hasEnded()) return Promise.reject(ended);
      waiting = Promise.withResolvers();
      const { promise } = waiting;
      // The caller may fail elsewhere before it awaits this.
      promise.catch(() => {});
      child.send(order as object);
      return promise as Promise<Result>;
    },
    async [Symbol.asyncDispose]() {
      if (hasEnded()) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** The other side: replies to each order with what `work` returns; null is for orders without a result. */
export function serve(work: (order: never) => Promise<unknown> | null): void {
  const send = (reply: Reply) => void process.send!(reply);
  reportMovements((what) => send({ kind: "moved", what }));
  process.once("disconnect", () => process.exit(0));
  process.on("message", async (order) => {
    try {
      const working = work(order as never);
      if (working === null) return;
      send({ kind: "result", result: await working });
    } catch (error) {
      send({ kind: "error", error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  send({ kind: "ready" });
}
