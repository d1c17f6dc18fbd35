import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { chown } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { diskFull, explainFileError } from "../data-dir.ts";
import { syncDirectory, writeFileDurably } from "../durable-file.ts";
import { StartError } from "../start-error.ts";
import { killInitdbIn } from "./orphans.ts";
import { isAlive, signalAtExit } from "./process.ts";
import { reasonOf, saysDiskFull } from "./server-output.ts";
import { type ServerUser, spawnAs } from "./server-user.ts";

export const databaseRole = "chat4all";

/** Made aside and renamed, so that a crash leaves a whole cluster or none, and two processes end with the same. */
export async function prepareCluster(
  dataDir: string,
  initdb: string,
  user: ServerUser,
  signal?: AbortSignal,
): Promise<{ directory: string; password: string }> {
  const directory = join(dataDir, "postgres");
  refuseForeign(directory, user);
  if (!isCluster(directory)) {
    removeLeftovers(dataDir);
    await makeCluster(dataDir, directory, initdb, user, signal);
  }
  await ensureOwner(directory, user);
  return { directory, password: readPassword(directory) };
}

function isCluster(directory: string): boolean {
  if (existsSync(join(directory, "PG_VERSION"))) return true;
  const stats = statSync(directory, { throwIfNoEntry: false });
  if (!stats || (stats.isDirectory() && readdirSync(directory).length === 0)) return false;
  throw new StartError(
    `${directory} contains something other than a PostgreSQL database: move it away, or set another DATA_DIR.`,
  );
}

const unfinished = /^postgres\.new-(\d+)(\.password)?$/;

function removeLeftovers(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    const pid = Number(unfinished.exec(name)?.[1]);
    if (!pid || (pid !== process.pid && isAlive(pid))) continue;
    killInitdbIn(join(dataDir, name));
    removeFolder(join(dataDir, name));
  }
}

/** A process that was just killed may still write. */
function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

async function makeCluster(
  dataDir: string,
  directory: string,
  initdb: string,
  user: ServerUser,
  signal?: AbortSignal,
): Promise<void> {
  const temporary = join(dataDir, `postgres.new-${process.pid}`);
  const passwordFile = `${temporary}.password`;
  try {
    mkdirSync(temporary, { mode: 0o700 });
    writeFileDurably(passwordFile, randomBytes(24).toString("base64url"), 0o600);
    if (user.kind === "other")
      await Promise.all([temporary, passwordFile].map((path) => chown(path, user.uid, user.gid)));
    await runInitdb(initdb, user, temporary, passwordFile, signal);
    renameSync(passwordFile, join(temporary, passwordName));
    syncDirectory(temporary);
    takePlace(temporary, directory);
    syncDirectory(dataDir);
  } catch (error) {
    removeFolder(temporary);
    rmSync(passwordFile, { force: true });
    throw error instanceof StartError ? error : explainFileError(error, dataDir);
  }
}

async function runInitdb(
  initdb: string,
  user: ServerUser,
  directory: string,
  passwordFile: string,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  const child = spawnAs(
    user,
    initdb,
    [
      ...["--pgdata", directory, "--pwfile", passwordFile, "--username", databaseRole, "--auth", "scram-sha-256"],
      ...["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"],
      "--no-instructions",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  // initdb delays SIGTERM until a step has ended; the next start removes its files.
  const forgetExit = signalAtExit(() => child.pid ?? null, "SIGKILL");
  const kill = () => {
    child.kill("SIGKILL");
    killInitdbIn(directory);
  };
  signal?.addEventListener("abort", kill, { once: true });
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const [output, code] = await Promise.all([text(child.stderr!), exited]);
  forgetExit();
  signal?.removeEventListener("abort", kill);
  if (code === 0) return;
  signal?.throwIfAborted();
  if (saysDiskFull(output)) throw new StartError(diskFull(directory));
  throw new StartError(`The database could not be created in ${directory}: ${reasonOf(output)}.`);
}

/** If another process was faster, its folder stays. */
function takePlace(temporary: string, directory: string): void {
  try {
    renameSync(temporary, directory);
  } catch (error) {
    if (!isCluster(directory)) throw error;
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** PostgreSQL must own its folder; root may have copied or unpacked it. */
async function ensureOwner(directory: string, user: ServerUser): Promise<void> {
  if (user.kind === "self" || statSync(directory).uid === user.uid) return;
  await promisify(execFile)("chown", ["-R", `${user.uid}:${user.gid}`, directory]);
}

function refuseForeign(directory: string, user: ServerUser): void {
  const owner = statSync(directory, { throwIfNoEntry: false })?.uid;
  const self = process.getuid?.();
  if (user.kind === "other" || owner === undefined || self === undefined || owner === self) return;
  throw new StartError(
    `${directory} belongs to user ${owner}: start as that user, or give the folder to user ${self}.`,
  );
}

/** The password is in the cluster, so that both are moved together. */
const passwordName = "password.chat4all";

export function readPassword(directory: string): string {
  try {
    return readFileSync(join(directory, passwordName), "utf8").trim();
  } catch (error) {
    throw explainFileError(error, join(directory, passwordName));
  }
}
