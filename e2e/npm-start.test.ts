import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { type HubPlace, openHubPlace } from "./src/hub-place.ts";
import { killAll, processesIn, withoutProc } from "./src/processes.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const stopWithinMs = patient(10_000);

test("SIGTERM to npm ends all processes within 10 s", { skip: withoutProc }, async () => {
  await using started = await npmStart();
  started.signalNpm("SIGTERM");
  await started.allGone();
});

test("SIGTERM to npm ends all processes, even if the shell forwards no signal", { skip: withoutProc }, async () => {
  await using started = await npmStart({ shell: '#!/bin/sh\n/bin/sh "$@"\nexit $?\n' });
  started.signalNpm("SIGTERM");
  await started.allGone();
});

for (const shell of [undefined, '#!/bin/sh\n/bin/sh "$@"\nexit $?\n']) {
  test(
    `the hub ends when npm is killed${shell === undefined ? "" : ", also below another shell"}`,
    { skip: withoutProc },
    async () => {
      await using started = await npmStart(shell === undefined ? {} : { shell });
      started.signalNpm("SIGKILL");
      await started.allGone();
    },
  );
}

test("SIGTERM to npm while the hub starts ends all processes within 10 s", { skip: withoutProc }, async () => {
  await using started = await npmStart({ until: /Starting: waiting for/, stopsPostgres: true });
  started.signalNpm("SIGTERM");
  await started.allGone();
});

const withoutUnshare =
  withoutProc ||
  (spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "true"]).status !== 0 &&
    "a container needs root and the program unshare (apt-get install util-linux)");

// npm ends before the hub can stop, and the kernel then kills all other processes of the container.
for (const [what, command, stopsInOrder] of [
  ["npm", ["npm", "start"], false],
  ["the hub", [process.execPath, "--require", "./server/check-node.cjs", "server/src/main.ts"], true],
] as const) {
  test(
    `SIGTERM to ${what} as PID 1 of a container ends all processes within 10 s`,
    { skip: withoutUnshare },
    async () => {
      await using started = await npmStart({ command: ["unshare", "--pid", "--fork", "--mount-proc", ...command] });
      // The first process in the container is the only child of unshare.
      const [first] = childrenOf(started.pid);
      process.kill(first!, "SIGTERM");
      await started.allGone();
      if (stopsInOrder) await until("it says that it stopped", () => /^Stopped\.$/m.test(started.output()));
    },
  );
}

interface Started extends AsyncDisposable {
  pid: number;
  output(): string;
  signalNpm(signal: NodeJS.Signals): void;
  /** Rejects unless every process ends in time. */
  allGone(): Promise<void>;
}

async function npmStart(
  options: {
    command?: readonly string[];
    /** Stands between npm and the hub. */
    shell?: string;
    until?: RegExp;
    /** Keeps the hub waiting for its database. */
    stopsPostgres?: boolean;
  } = {},
): Promise<Started> {
  const { command: [program, ...args] = ["npm", "start"] } = options;
  const place = await openHubPlace();
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? "",
    HOME: process.env.HOME ?? "",
    npm_config_update_notifier: "false",
    PORT: String(place.port),
    SIMULATOR_PORT: "0",
    DATA_DIR: place.dataDir,
    LOG_LEVEL: "warn",
  };
  if (options.shell !== undefined) {
    env.npm_config_script_shell = join(place.folder, "shell");
    writeFileSync(env.npm_config_script_shell, options.shell);
    chmodSync(env.npm_config_script_shell, 0o755);
  }
  const child = spawn(program!, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => end(place, child));
  if (options.stopsPostgres) {
    const postgres = await until("its database is being made", () => databaseOf(place)[0]);
    for (const pid of [postgres]) process.kill(pid, "SIGSTOP");
  }
  const wanted = options.until ?? /is ready/;
  await until(`it says ${wanted}`, () => wanted.test(output) || child.exitCode !== null, 60_000);
  assert.match(output, wanted);
  const opened = stack.move();
  return {
    pid: child.pid!,
    output: () => output,
    signalNpm: (signal) => void child.kill(signal),
    async allGone() {
      const asked = performance.now();
      await until(`no process is left: ${output}`, () => all(place).length === 0, stopWithinMs);
      const tookMs = performance.now() - asked;
      assert.ok(tookMs < stopWithinMs, `it took ${tookMs} ms`);
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function end(place: HubPlace, child: ChildProcess): Promise<void> {
  killAll(all(place));
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  await place[Symbol.asyncDispose]();
}

/** npm, shells, hub and simulator know the data directory from their environment; PostgreSQL works in it. */
function all(place: HubPlace): number[] {
  const withEnvironment = processes().filter((pid) =>
    read(`/proc/${pid}/environ`).includes(`DATA_DIR=${place.dataDir}`),
  );
  return [...new Set([...withEnvironment, ...processesIn(place.folder)])];
}

function databaseOf(place: HubPlace): number[] {
  return processes().filter(
    (pid) =>
      /^\S*(initdb|postgres)\0/.test(read(`/proc/${pid}/cmdline`)) &&
      read(`/proc/${pid}/cmdline`).includes(place.dataDir),
  );
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean).map(Number);
}

function processes(): number[] {
  return readdirSync("/proc").map(Number).filter(Boolean);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
