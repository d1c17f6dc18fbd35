import { randomBytes } from "node:crypto";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { findRunningDatabase } from "../../../embedded-postgres/src/embedded-postgres.ts";
import { isServerOf, readPidFile } from "../../../embedded-postgres/src/processes.ts";
import { type HubProcess, spawnHub } from "../../../server/src/testing/hub-process.ts";
import { startWatchdog } from "../../../server/src/testing/watchdog.ts";
import { moved } from "../movement.ts";
import { readProcesses } from "../watch/processes.ts";

/** A hub as `npm start` starts it, on its own ports. */
export interface BenchHub extends AsyncDisposable {
  url: string;
  simulatorUrl: string;
  adminPassword: string;
  dataDir: string;
  databaseUrl: string;
  pid: number;
  postmasterPid: number;
  simulatorPid: number | null;
  inspectorUrl: string | null;
  startedInMs: number;
}

interface HubOptions {
  dataDir: string;
  roles?: string;
  isInspected?: boolean;
  env?: Record<string, string>;
}

const stopTimeoutMs = 15_000;
const adminPassword = randomBytes(12).toString("base64url");

/** Of every hub that is measured. */
export const benchSettings = {
  PORT: "0",
  // Any message may be sent at any time.
  SIMULATOR_ENFORCE_WINDOW: "false",
  ADMIN_PASSWORD: adminPassword,
  LOG_LEVEL: "warn",
  SOCKETS_PER_USER: "1000000",
  SOCKETS_PER_ADDRESS: "1000000",
};

export function openDataDir(): { path: string } & Disposable {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-bench-"));
  return {
    path: join(folder, "data"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }),
  };
}

export async function startHub({
  dataDir,
  roles = "all",
  isInspected = false,
  env = {},
}: HubOptions): Promise<BenchHub> {
  const startedAt = performance.now();
  const folder = join(dataDir, "..");
  const hub = spawnHub({
    cwd: folder,
    nodeArguments: isInspected ? ["--inspect=127.0.0.1:0"] : [],
    env: {
      ...benchSettings,
      DATA_DIR: dataDir,
      SIMULATOR_PORT: "0",
      ROLES: roles,
      ...env,
    },
    isDetached: true,
    readyWithinMs: null,
  });
  for (const stream of [hub.child.stdout!, hub.child.stderr!]) stream.on("data", () => moved("a line of a hub"));
  const watchdog = startWatchdog(folder, watchdogScript(hub.pid));
  const end = () => stop(hub, dataDir).finally(() => watchdog.cancel());
  try {
    await hub.ready;
    const startedInMs = performance.now() - startedAt;
    hub.child.stderr!.on("data", (chunk: Buffer) => showComplaint(chunk.toString()));
    const postmasterPid = readPidFile(join(dataDir, "postgres"))!.pid;
    const simulator = readProcesses().find(({ pid, parent }) => parent === hub.pid && pid !== postmasterPid);
    moved("the start of a hub");
    return {
      url: /API +(http\S+)/.exec(hub.stdout())![1]!,
      simulatorUrl: /Simulator +(\S+)\/_sim\//.exec(hub.stdout())![1]!,
      adminPassword,
      dataDir,
      databaseUrl: findRunningDatabase(dataDir)!,
      pid: hub.pid,
      postmasterPid,
      simulatorPid: simulator?.pid ?? null,
      inspectorUrl: /Debugger listening on (ws:\S+)/.exec(hub.stderr())?.[1] ?? null,
      startedInMs,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Stops the hub in order, and its database by force. */
const watchdogScript = (pid: number) => `
  cat
  tries=0
  while kill -TERM ${pid} && [ $tries -lt 150 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -QUIT "$(head -n 1 "$1/data/postgres/postmaster.pid")" && sleep 1
  rm -rf "$1"
`;

/** A hub that only accepts warns that its messages wait, which they do on purpose. */
const expected = /^(Debugger |For help, see: |.*"NO_CONSUMER").*\n/gm;

function showComplaint(complaint: string): void {
  process.stderr.write(complaint.replaceAll(expected, ""));
}

async function stop({ child, ended, kill }: HubProcess, dataDir: string): Promise<void> {
  const postmaster = readPidFile(join(dataDir, "postgres"))?.pid;
  if (child.exitCode === null && child.signalCode === null) {
    kill("SIGTERM");
    const timer = setTimeout(() => kill("SIGKILL"), stopTimeoutMs);
    const { code } = await ended;
    clearTimeout(timer);
    if (code !== 0) process.stderr.write("The hub did not stop in order.\n");
  }
  if (postmaster !== undefined) await stopPostgres(postmaster, join(dataDir, "postgres"));
}

async function stopPostgres(pid: number, directory: string): Promise<void> {
  for (let tries = 0; tries < 100 && isServerOf(pid, directory); tries += 1) {
    if (tries === 0) process.kill(pid, "SIGQUIT");
    await delay(50);
  }
}
