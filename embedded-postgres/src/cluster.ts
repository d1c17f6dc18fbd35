import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { addAbortListener, once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { chown, rm } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { DataDirError, diskFull, explainFileError, syncDirectory, writeFileDurably } from "./data-dir.ts";
import { databaseRole } from "./endpoint.ts";
import { isAlive, killInitdbIn, signalAtExit } from "./processes.ts";
import { reasonOf, saysDiskFull } from "./server-log.ts";
import { type ServerUser, spawnAs } from "./server-user.ts";

type ClusterOptions = { dataDir: string; initdb: string; user: ServerUser; signal: AbortSignal | undefined };

/** Made aside and renamed, so that a crash leaves a whole cluster or none, and two processes end with the same. */
export async function prepareCluster(options: ClusterOptions): Promise<{ directory: string; password: string }> {
  const { dataDir, user } = options;
  const directory = join(dataDir, "postgres");
  refuseForeign(directory, user);
  if (!isCluster(directory)) {
    await removeLeftovers(dataDir);
    await makeCluster(directory, options);
  }
  await ensureOwner(directory, user);
  return { directory, password: readPassword(directory) };
}

function isCluster(directory: string): boolean {
  if (existsSync(join(directory, "PG_VERSION"))) return true;
  const stats = statSync(directory, { throwIfNoEntry: false });
  if (!stats || (stats.isDirectory() && readdirSync(directory).length === 0)) return false;
  throw new DataDirError(
    `${directory} contains something other than a PostgreSQL database: move it away, or set another DATA_DIR.`,
  );
}

const unfinished = /^postgres\.new-(\d+)(\.password)?$/;

async function removeLeftovers(dataDir: string): Promise<void> {
  for (const name of readdirSync(dataDir)) {
    const pid = Number(unfinished.exec(name)?.[1]);
    if (!pid || (pid !== process.pid && isAlive(pid))) continue;
    killInitdbIn(join(dataDir, name));
    await removeFolder(join(dataDir, name));
  }
}

const mostRemovals = 20;
const removalPauseMs = 50;

/** A process that was just killed may still write: a file that vanishes meanwhile ends `rm` without an error. */
async function removeFolder(path: string): Promise<void> {
  for (let removals = 1; ; removals += 1) {
    await rm(path, { recursive: true, force: true, maxRetries: mostRemovals, retryDelay: removalPauseMs });
    if (!existsSync(path) || removals === mostRemovals) return;
    await delay(removalPauseMs);
  }
}

async function makeCluster(directory: string, options: ClusterOptions): Promise<void> {
  const { dataDir, user } = options;
  const temporary = join(dataDir, `postgres.new-${process.pid}`);
  const passwordFile = `${temporary}.password`;
  try {
    mkdirSync(temporary, { mode: 0o700 });
    writeFileDurably(passwordFile, randomBytes(24).toString("base64url"), 0o600);
    if (user.kind === "other")
      await Promise.all([temporary, passwordFile].map((path) => chown(path, user.uid, user.gid)));
    await runInitdb(temporary, passwordFile, options);
    renameSync(passwordFile, join(temporary, passwordName));
    syncDirectory(temporary);
    takePlace(temporary, directory);
    syncDirectory(dataDir);
  } catch (error) {
    await removeFolder(temporary);
    rmSync(passwordFile, { force: true });
    throw error instanceof DataDirError ? error : explainFileError(error, dataDir);
  }
}

async function runInitdb(
  directory: string,
  passwordFile: string,
  { initdb, user, signal }: ClusterOptions,
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
  using _listening = signal && addAbortListener(signal, kill);
  const [output, [code]] = await Promise.all([text(child.stderr!), once(child, "close")]);
  forgetExit();
  if (code === 0) return;
  signal?.throwIfAborted();
  if (saysDiskFull(output)) throw new DataDirError(diskFull(directory));
  throw new DataDirError(`The database could not be created in ${directory}: ${reasonOf(output)}.`);
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
  throw new DataDirError(
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
