import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A program of this bench in its own process, so that what it costs is not mixed with what is measured. */
export interface Child extends AsyncDisposable {
  readonly pid: number;
  /** Sends an order and waits for its result. One at a time. */
  ask<Result>(order: unknown): Promise<Result>;
  post(order: unknown): void;
}

type Reply = { ok: true; result: unknown } | { ok: false; error: string };

/** `program` is a module beside this one that calls `serve`. It ends with us, however we end. */
export async function startChild(program: string): Promise<Child> {
  const child = fork(fileURLToPath(new URL(program, import.meta.url)), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(child, "message");
  return {
    pid: child.pid!,
    post: (order) => void child.send(order as object),
    ask<Result>(order: unknown) {
      const reply = next(child) as Promise<Result>;
      child.send(order as object);
      // The caller may fail elsewhere before it awaits this.
      reply.catch(() => {});
      return reply;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}

function next(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("a process of the bench ended unexpectedly"));
    child.once("exit", ended);
    child.once("message", (reply: Reply) => {
      child.off("exit", ended);
      if (reply.ok) resolve(reply.result);
      else reject(new Error(reply.error));
    });
  });
}

/** The other side: responds to each order with what `work` returns; null is for orders without a result. */
export function serve(work: (order: never) => Promise<unknown> | null): void {
  process.once("disconnect", () => process.exit(0));
  process.on("message", async (order) => {
    try {
      const working = work(order as never);
      if (working === null) return;
      process.send!({ ok: true, result: await working } satisfies Reply);
    } catch (error) {
      process.send!({ ok: false, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.send!("ready");
}
