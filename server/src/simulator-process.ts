import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Server } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openDataDir } from "../../embedded-postgres/src/data-dir.ts";
import type { Log } from "./lib/postgres.ts";
import { StartError } from "./lib/start-error.ts";
import { startTimeoutMs } from "./lib/start-progress.ts";

const program = fileURLToPath(new URL("../../simulator/src/main.ts", import.meta.url));
const stopTimeoutMs = 3_000;

interface SimulatorProcess extends AsyncDisposable {
  /** Makes it read its journal and listen on this server's port; resolves with its URL when it responds. */
  start(server: Server): Promise<string>;
}

/**
 * The platform simulator as a child process, which ends with this one, even if this one is killed. It loads while
 * the database starts, and listens only after `start`. `DATA_DIR/simulator.jsonl` keeps what the platforms received.
 */
export function spawnSimulator(options: {
  dataDir: string;
  log: Log;
  /** Whether this hub, the only host that it calls, uses TLS; its certificate is not for 127.0.0.1. */
  callsTls: boolean;
  enforcesWindow: boolean;
}): SimulatorProcess {
  const { dataDir, log, callsTls, enforcesWindow } = options;
  const flags = [
    "--journal",
    join(openDataDir(dataDir), "simulator.jsonl"),
    "--enforce-window",
    String(enforcesWindow),
  ];
  const child = fork(program, ["--inherit-port", ...flags], {
    // In a process group of its own: a Ctrl-C must reach the hub only, which drains before it stops the simulator.
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: { ...process.env, ...(callsTls ? { NODE_TLS_REJECT_UNAUTHORIZED: "0" } : {}) },
  });
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2_000);
  });
  let isStarted = false;
  let isStopping = false;
  child.on("error", () => {});
  child.once("exit", (code, signal) => {
    if (isStarted && !isStopping)
      log.error(
        { code, signal, complaint },
        "the platform simulator exited unexpectedly; restart the hub to start it again",
      );
  });
  return {
    async start(server) {
      const url = await listening(child, server, () => complaint.trim());
      isStarted = true;
      return url;
    },
    async [Symbol.asyncDispose]() {
      isStopping = true;
      await stop(child);
    },
  };
}

function listening(child: ChildProcess, server: Server, complaint: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new StartError(reason));
    };
    const ended = () => fail(complaint() || `The platform simulator exited at once (${endOf(child)}): start again.`);
    const late = `The platform simulator did not respond within ${startTimeoutMs / 1000} s: the machine is too busy. Start again.`;
    const timer = setTimeout(() => fail(late), startTimeoutMs);
    if (hasEnded(child)) return ended();
    child.once("error", (error) => fail(`The platform simulator cannot be started: ${error.message}.`));
    child.once("exit", ended);
    child.once("message", (message) => {
      clearTimeout(timer);
      child.off("exit", ended);
      resolve((message as { url: string }).url);
    });
    child.send("listen", server, (error) => {
      if (error !== null && !hasEnded(child)) fail(`The platform simulator cannot be started: ${error.message}.`);
    });
  });
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function endOf({ exitCode, signalCode }: ChildProcess): string {
  return signalCode ?? `exit code ${exitCode}`;
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await exited;
  clearTimeout(timer);
}
