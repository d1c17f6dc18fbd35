import { fork } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { startWatchdog } from "../../../server/src/testing/watchdog.ts";
import { startChild } from "../child.ts";
import { openDataDir } from "../hub/bench-hub.ts";
import type { FloorOrder, StartedFloor } from "./floor-process.ts";

export interface RunningFloor extends StartedFloor, AsyncDisposable {
  pid: number;
  simulatorUrl: string;
  simulatorPid: number;
}

/** The floor with its own database and simulator. */
export async function startFloor(people: number): Promise<RunningFloor> {
  await using resources = new AsyncDisposableStack();
  const { path: dataDir } = resources.use(openDataDir());
  const watchdog = startWatchdog(dirname(dataDir), watchdogScript);
  resources.defer(() => watchdog.cancel());
  const simulator = resources.use(await startSimulator(join(dirname(dataDir), "simulator.jsonl")));
  const child = resources.use(await startChild("./reference/floor-process.ts"));
  resources.defer(() => child.ask<void>({ kind: "stop" } satisfies FloorOrder).catch(() => {}));
  const order: FloorOrder = { kind: "start", dataDir, simulatorUrl: simulator.url, people };
  const started = await child.ask<StartedFloor>(order);
  const kept = resources.move();
  return {
    ...started,
    pid: child.pid,
    simulatorUrl: simulator.url,
    simulatorPid: simulator.pid,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const watchdogScript = `
  cat
  kill -QUIT "$(head -n 1 "$1/data/postgres/postmaster.pid")" && sleep 1
  rm -rf "$1"
`;

/** As the hub starts it. */
export async function startSimulator(journal: string) {
  const program = fileURLToPath(new URL("../../../simulator/src/main.ts", import.meta.url));
  const child = fork(program, ["--port", "0", "--enforce-window", "false", "--journal", journal], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [{ url }] = (await once(child, "message")) as [{ url: string }];
  return {
    url,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}
