import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import pg from "pg";
import { until } from "../../../server/src/testing/until.ts";
import { isAlive, readPidFile } from "../processes.ts";
import type { Log } from "../supervisor.ts";

/**
 * For tests: a folder that is removed at the end, with a server that is left in its `data`.
 * With `copyOf`, a data directory whose server has stopped, `data` begins as that.
 */
export function temporaryFolder(copyOf?: string): {
  path: string;
  dataDir: string;
  [Symbol.asyncDispose](): Promise<void>;
} {
  const path = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-pg-"));
  const dataDir = join(path, "data");
  if (copyOf) cpSync(copyOf, dataDir, { recursive: true });
  return {
    path,
    dataDir,
    async [Symbol.asyncDispose]() {
      const pid = serverPid(dataDir);
      if (pid && isAlive(pid)) process.kill(pid, "SIGQUIT");
      await until("the server of the test is gone", () => !pid || !isAlive(pid));
      rmSync(path, { recursive: true, force: true });
    },
  };
}

type Answer = { url: string; adopted: boolean; uid: number; name?: string; message?: string };

/** A process that holds a data directory. `answer` is what it printed when it was ready, or why it ended. */
export function startHolderProcess(dataDir: string, options: SpawnOptions & { node?: string; program?: string } = {}) {
  const {
    node = process.execPath,
    program = join(import.meta.dirname, "data-directory-holder.ts"),
    ...spawnOptions
  } = options;
  const child = spawn(node, [program, dataDir], { cwd: "/", stdio: ["ignore", "pipe", "inherit"], ...spawnOptions });
  const exited = once(child, "exit");
  return {
    pid: child.pid!,
    answer: firstLine(child).then((line) => JSON.parse(line) as Answer),
    async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
      child.kill(signal);
      return (await exited)[0];
    },
  };
}

async function firstLine(child: ChildProcess): Promise<string> {
  let line = "";
  for await (const chunk of child.stdout!) {
    line += chunk;
    if (line.includes("\n")) return line;
  }
  return line || (await text(child.stdout!));
}

export function serverPid(dataDir: string): number | undefined {
  return readPidFile(join(dataDir, "postgres"))?.pid;
}

export async function query<T extends object>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

export const quiet: Log = { info() {}, warn() {} };
