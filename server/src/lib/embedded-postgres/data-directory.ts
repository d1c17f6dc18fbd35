import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { chown } from "node:fs/promises";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { syncDirectory, writeFileDurably } from "../durable-file.ts";
import { StartError } from "../start-error.ts";
import { killInitdbIn } from "./orphans.ts";
import { isAlive, signalAtExit } from "./process.ts";
import { reasonOf, saysDiskFull } from "./server-output.ts";
import { type ServerUser, spawnAs } from "./server-user.ts";

/** The only role, and the owner of everything in this cluster. */
export const databaseRole = "chat4all";

/** Makes the folder and answers its real path, by which its PostgreSQL is recognised. Throws a `StartError`. */
export function openDataDir(dataDir: string): string {
  try {
    // Another user passes through it when we are root, but cannot look around.
    const mode = process.getuid?.() === 0 ? 0o711 : 0o700;
    makeFolders(dataDir, mode);
    const path = realpathSync(dataDir);
    closeToOthers(path, mode);
    for (const { name, parentPath } of readdirSync(path, { withFileTypes: true })) {
      closeToOthers(join(parentPath, name), 0o700);
    }
    const trial = join(path, `.writable-${process.pid}`);
    writeFileDurably(trial, "", 0o600);
    rmSync(trial);
    return path;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") {
      throw new StartError(`The folder ${dataDir} cannot be made: set DATA_DIR to one that can.`, { cause: error });
    }
    throw explainFileError(error, dataDir);
  }
}

/**
 * Removes permissions beyond `mode` that an earlier version or another program gave. Nested files are protected by
 * their folder; files of another user stay as they are.
 */
function closeToOthers(path: string, mode: number): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (process.platform === "win32" || stats === undefined || stats.isSymbolicLink()) return;
  const uid = process.getuid?.();
  if (uid !== 0 && stats.uid !== uid) return;
  const rights = stats.mode & 0o777;
  if ((rights & mode) === rights) return;
  try {
    chmodSync(path, rights & mode);
  } catch (error) {
    // A file system without permissions.
    if (!["EPERM", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** `mkdir` with `recursive` never ends where a folder cannot be made although its parent is there, as in `/proc`. */
function makeFolders(path: string, mode: number): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolders(dirname(path), mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/**
 * Makes the cluster in `<dataDir>/postgres` unless it is there, and answers its folder and password.
 * It is made beside its place and renamed, so a crash leaves a whole one or none; two processes that make one at the
 * same time end with the same. Throws a `StartError` when the place is taken by something else.
 */
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

/** Is there a cluster? Throws a `StartError` when there is something else. */
function isCluster(directory: string): boolean {
  if (existsSync(join(directory, "PG_VERSION"))) return true;
  const stats = statSync(directory, { throwIfNoEntry: false });
  if (!stats || (stats.isDirectory() && readdirSync(directory).length === 0)) return false;
  throw new StartError(
    `${directory} holds something else than a PostgreSQL database: move it away, or set another DATA_DIR.`,
  );
}

const unfinished = /^postgres\.new-(\d+)(\.password)?$/;

/** What processes that died on the way left behind. */
function removeLeftovers(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    const pid = Number(unfinished.exec(name)?.[1]);
    if (!pid || (pid !== process.pid && isAlive(pid))) continue;
    killInitdbIn(join(dataDir, name));
    removeFolder(join(dataDir, name));
  }
}

/** A process that was killed a moment ago may still write into it. */
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
  // initdb delays SIGTERM until a step is done; the next start removes what it leaves.
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
  throw new StartError(`The database could not be made in ${directory}: ${reasonOf(output)}.`);
}

/** A folder that another process put there in the meantime stays; ours was for nothing. */
function takePlace(temporary: string, directory: string): void {
  try {
    renameSync(temporary, directory);
  } catch (error) {
    if (!isCluster(directory)) throw error;
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** PostgreSQL wants to own its folder; what root copied or unpacked is handed over. */
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

/** The password lies in the cluster that wants it, so that both travel together. */
const passwordName = "password.chat4all";

export function readPassword(directory: string): string {
  try {
    return readFileSync(join(directory, passwordName), "utf8").trim();
  } catch (error) {
    throw explainFileError(error, join(directory, passwordName));
  }
}

export function diskFull(path: string): string {
  return `The disk that holds ${path} is full: free some space and start again.`;
}

/** A `StartError` for what the file system refused; anything else is thrown on as it is. */
export function explainFileError(error: unknown, path: string): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new StartError(
      `${path} cannot be written by this user (${code}): change its owner or mode, or set another DATA_DIR.`,
    );
  }
  if (code === "ENOTDIR" || code === "EEXIST") {
    return new StartError(`${path} is a file or lies below one: move it away, or set another DATA_DIR.`);
  }
  if (code === "ENOSPC" || code === "EDQUOT") return new StartError(diskFull(path));
  if (code === "ENOENT") return new StartError(`${path} is missing: restore it from where the folder came from.`);
  return error instanceof Error ? error : new Error(String(message));
}
