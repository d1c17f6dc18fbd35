import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeFileDurably } from "./durable-file.ts";
import { StartError } from "./start-error.ts";

/**
 * Makes DATA_DIR, or closes it to other users, and answers its real path, by which its PostgreSQL is recognised.
 * Throws a `StartError`.
 */
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
