import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../server/src/lib/free-port.ts";
import { patient } from "../../server/src/testing/patience.ts";
import { checkAnswersOf, requireValidAnswers } from "./checked-answers.ts";
import { adminPassword, noLimits, openPlatformsEnv, quickRetries } from "./harness.ts";
import { killAll, noneLeftIn, processesIn } from "./processes.ts";

const program = fileURLToPath(new URL("../../server/src/main.ts", import.meta.url));
const check = fileURLToPath(new URL("../../server/check-node.cjs", import.meta.url));
/** What `npm start` gives to Node.js. */
export const startArguments: readonly string[] = ["--require", check, program];
const readyWithinMs = patient(60_000);
const keptOutput = 20_000;

/** What a process was started with, to start it again the same way. */
export interface HubPlace extends AsyncDisposable {
  /** Where its processes run; nothing else does. */
  folder: string;
  dataDir: string;
  port: number;
  url: string;
  /** `main.ts` as `npm start` runs it, or one of its commands. Does not wait for it. */
  spawn(env?: Record<string, string>, args?: readonly string[]): HubProcess;
  /** Kills whatever still runs there, and removes the folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface HubProcess {
  pid: number;
  /** Rejects, with what it said, when it ends before. */
  ready: Promise<void>;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
}

/** A folder and a free port for hubs in processes of their own. `env` names what is not the same for every test. */
export async function openHubPlace(env: Record<string, string> = {}): Promise<HubPlace> {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-e2e-"));
  const dataDir = join(folder, "data");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  checkAnswersOf(url);
  return {
    folder,
    dataDir,
    port,
    url,
    spawn: (more = {}, args = []) =>
      spawnHub(
        folder,
        {
          ...quickRetries,
          ...noLimits,
          ...openPlatformsEnv,
          PORT: String(port),
          // The default may be in use by another test file, or by a hub of the developer.
          SIMULATOR_PORT: "0",
          DATA_DIR: dataDir,
          ADMIN_PASSWORD: adminPassword,
          LOG_LEVEL: "warn",
          ...env,
          ...more,
        },
        args,
      ),
    async [Symbol.asyncDispose]() {
      killAll(processesIn(folder));
      await noneLeftIn(folder);
      rmSync(folder, { recursive: true, force: true });
      requireValidAnswers();
    },
  };
}

/** A hub in a process of its own, ready. It ends with the place. */
export async function startHubProcess(place: HubPlace, env?: Record<string, string>): Promise<HubProcess> {
  const hub = place.spawn(env);
  await hub.ready;
  return hub;
}

/** In `cwd`, so that no `.env` of this checkout counts and its processes can be told apart. */
function spawnHub(cwd: string, env: Record<string, string>, args: readonly string[]): HubProcess {
  const kept = Object.fromEntries(["PATH", "HOME", "TMPDIR", "LANG"].map((name) => [name, process.env[name] ?? ""]));
  const child = spawn(process.execPath, [...startArguments, ...args], {
    cwd,
    env: { ...kept, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  const ended = once(child, "exit").then(([code, signal]) => ({ code, signal }));
  const ready = new Promise<void>((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`The hub ${what}.\n${output.stdout}\n${output.stderr}`));
    const timer = setTimeout(() => fail("was not ready in time"), readyWithinMs);
    child.stdout.on("data", (chunk) => {
      output.stdout = (output.stdout + chunk).slice(-keptOutput);
      if (output.stdout.includes("is ready")) resolve();
    });
    child.stderr.on("data", (chunk) => {
      output.stderr = (output.stderr + chunk).slice(-keptOutput);
    });
    child.once("exit", () => {
      clearTimeout(timer);
      fail("ended before it was ready");
    });
    child.stdout.once("end", () => clearTimeout(timer));
  });
  // Whoever kills it before it is ready need not wait for that.
  ready.catch(() => {});
  return {
    pid: child.pid!,
    ready,
    ended,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    kill: (signal) => void child.kill(signal),
  };
}
