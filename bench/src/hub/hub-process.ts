import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { databaseRole } from "../../../server/src/lib/embedded-postgres/data-directory.ts";
import { connectionUrl } from "../../../server/src/lib/embedded-postgres/endpoint.ts";
import { isServerOf, readPidFile } from "../../../server/src/lib/embedded-postgres/pid-file.ts";

/** A hub as `npm start` starts it, on ports of its own. */
export interface HubProcess extends AsyncDisposable {
  url: string;
  simulatorUrl: string;
  adminPassword: string;
  dataDir: string;
  databaseUrl: string;
  pid: number;
  postmasterPid: number;
  /** Where its inspector listens; null unless asked for. */
  inspectorUrl: string | null;
  /** From the start of the process to its word that it is ready. */
  startedInMs: number;
}

export interface HubOptions {
  dataDir: string;
  /** As the configuration's `ROLES`. */
  roles?: string;
  isInspected?: boolean;
  /** Beside what every hub of the bench is given. */
  env?: Record<string, string>;
}

const program = fileURLToPath(new URL("../../../server/src/main.ts", import.meta.url));
const check = fileURLToPath(new URL("../../../server/check-node.cjs", import.meta.url));
const startTimeoutMs = 60_000;
const stopTimeoutMs = 15_000;
const adminPassword = randomBytes(12).toString("base64url");

/** A data directory that is removed at the end. */
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
}: HubOptions): Promise<HubProcess> {
  const startedAt = performance.now();
  const inspect = isInspected ? ["--inspect=127.0.0.1:0"] : [];
  const child = spawn(process.execPath, [...inspect, "--require", check, program], {
    cwd: join(dataDir, ".."),
    // Nothing of our own environment but what a program needs: a variable of the hub would change what is measured.
    env: {
      PATH: process.env.PATH,
      DATA_DIR: dataDir,
      PORT: "0",
      SIMULATOR_PORT: "0",
      // Any message may be sent at any time.
      SIMULATOR_ENFORCE_WINDOW: "false",
      ADMIN_PASSWORD: adminPassword,
      LOG_LEVEL: "warn",
      ROLES: roles,
      SOCKETS_PER_USER: "1000000",
      SOCKETS_PER_ADDRESS: "1000000",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
    // A Ctrl-C is for the bench, which stops the hub in order.
    detached: true,
  });
  const watchdog = startWatchdog(child.pid!, join(dataDir, ".."));
  const end = () => stop(child, dataDir).finally(() => watchdog.end());
  try {
    const { banner, complaints } = await ready(child);
    const startedInMs = performance.now() - startedAt;
    const { pid: postmasterPid, endpoint } = readPidFile(join(dataDir, "postgres"))!;
    const password = readFileSync(join(dataDir, "postgres", "password.chat4all"), "utf8").trim();
    return {
      url: /API +(http\S+)/.exec(banner)![1]!,
      simulatorUrl: /Simulator +(\S+)\/_sim\//.exec(banner)![1]!,
      adminPassword,
      dataDir,
      databaseUrl: connectionUrl(endpoint, { user: databaseRole, password }, "chat4all"),
      pid: child.pid!,
      postmasterPid,
      inspectorUrl: /Debugger listening on (ws:\S+)/.exec(complaints())?.[1] ?? null,
      startedInMs,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Resolves with what it printed; what it goes on to complain about is passed on. */
function ready(child: ChildProcess): Promise<{ banner: string; complaints: () => string }> {
  return new Promise((resolve, reject) => {
    let printed = "";
    let complaints = "";
    let isReady = false;
    const fail = (why: string) => reject(new Error(`The hub ${why}. ${complaints.slice(-2_000)}`));
    const timer = setTimeout(() => fail("did not start in time"), startTimeoutMs);
    child.once("exit", () => {
      clearTimeout(timer);
      fail("ended as soon as it started");
    });
    child.stderr!.on("data", (chunk: Buffer) => {
      if (isReady) passOn(chunk.toString());
      else complaints += chunk;
    });
    child.stdout!.on("data", (chunk: Buffer) => {
      printed += chunk;
      if (isReady || !/API +http\S+[\s\S]*Simulator +\S+/.test(printed)) return;
      isReady = true;
      clearTimeout(timer);
      child.removeAllListeners("exit");
      resolve({ banner: printed, complaints: () => complaints });
    });
  });
}

/** The end of its input is the end of the bench, also by `kill -9`: then it stops the hub and removes the folder. */
function startWatchdog(pid: number, folder: string): { end(): void } {
  if (process.platform === "win32") return { end() {} };
  const child = spawn("/bin/sh", ["-c", watchdogScript, "sh", String(pid), folder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return {
    end() {
      child.kill("SIGKILL");
      child.stdin.destroy();
    },
  };
}

const watchdogScript = `
  cat
  tries=0
  while kill -TERM "$1" && [ $tries -lt 150 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -QUIT "$(head -n 1 "$2/data/postgres/postmaster.pid")" && sleep 1
  rm -rf "$2"
`;

/** What the hub complains about, without what its inspector says of itself. */
function passOn(complaint: string): void {
  process.stderr.write(complaint.replaceAll(/^(Debugger |For help, see: ).*\n/gm, ""));
}

/** In order; where that takes too long, by force, and its database with it. */
async function stop(child: ChildProcess, dataDir: string): Promise<void> {
  const postmaster = readPidFile(join(dataDir, "postgres"))?.pid;
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    const [code] = await exited;
    clearTimeout(timer);
    if (code !== 0) process.stderr.write("The hub did not stop in order.\n");
  }
  child.stdout?.destroy();
  child.stderr?.destroy();
  if (postmaster !== undefined) await stopPostgres(postmaster, join(dataDir, "postgres"));
}

/** What the hub left running, if it did. */
async function stopPostgres(pid: number, directory: string): Promise<void> {
  for (let tries = 0; tries < 100 && isServerOf(pid, directory); tries += 1) {
    if (tries === 0) process.kill(pid, "SIGQUIT");
    await delay(50);
  }
}
