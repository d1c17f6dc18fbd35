import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Log } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";

const program = fileURLToPath(new URL("../../simulator/src/main.ts", import.meta.url));
/** How long it may take to start, and to stop, in milliseconds. */
const startTimeoutMs = 10_000;
const stopTimeoutMs = 3_000;

export interface SimulatorProcess extends AsyncDisposable {
  url: string;
}

/**
 * The platform simulator, in a process of its own that ends with this one, however that ends. What the platforms got
 * survives both in `DATA_DIR/simulator.jsonl`, as it would on real platforms.
 */
export async function startSimulatorProcess(options: {
  port: number;
  dataDir: string;
  log: Log;
  /** Whether this hub, which is all that it calls, speaks TLS: then with a certificate that is not for 127.0.0.1. */
  callsTls: boolean;
}): Promise<SimulatorProcess> {
  const { port, dataDir, log, callsTls } = options;
  const child = fork(program, ["--port", String(port), "--journal", join(dataDir, "simulator.jsonl")], {
    // Not in our process group: a Ctrl-C is for the hub, which drains before it stops the platforms.
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: { ...process.env, ...(callsTls ? { NODE_TLS_REJECT_UNAUTHORIZED: "0" } : {}) },
  });
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2_000);
  });
  const url = await listening(child, () => complaint.trim());
  let isStopping = false;
  child.once("exit", (code, signal) => {
    if (!isStopping)
      log.error(
        { code, signal, complaint },
        "the platform simulator ended by itself; restart the hub to have it again",
      );
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      isStopping = true;
      await stop(child);
    },
  };
}

function listening(child: ChildProcess, complaint: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new StartError(`${reason} Set SIMULATOR_PORT to another port, or end what is in the way.`));
    };
    const timer = setTimeout(() => fail("The platform simulator did not start in time."), startTimeoutMs);
    child.once("error", (error) => fail(`The platform simulator cannot be started: ${error.message}.`));
    child.once("exit", () => fail(complaint() || "The platform simulator ended as soon as it started."));
    child.once("message", (message) => {
      clearTimeout(timer);
      child.removeAllListeners("exit");
      resolve((message as { url: string }).url);
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await exited;
  clearTimeout(timer);
}
