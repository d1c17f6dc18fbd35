import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** The data directory or PostgreSQL in it cannot be used. The message says why, and what the operator can do. */
export class DataDirError extends Error {
  override name = "DataDirError";
}

/** Creates DATA_DIR, or removes the permissions of other users, and returns its real path. Throws a `DataDirError`. */
export function openDataDir(dataDir: string): string {
  try {
    // PostgreSQL runs as another user when we are root: it may pass through, but not list the folder.
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
      throw new DataDirError(`The folder ${dataDir} cannot be created: set DATA_DIR to a folder that can be.`, {
        cause: error,
      });
    }
    throw explainFileError(error, dataDir);
  }
}

/** Removes permissions beyond `mode`. Nested files are protected by their folder; files of another user stay. */
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
    if (!["EPERM", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** `mkdir` with `recursive` hangs where the parent exists but takes no folder, as in `/proc`. */
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

export function explainFileError(error: unknown, path: string): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new DataDirError(
      `${path} cannot be written by this user (${code}): change its owner or mode, or set another DATA_DIR.`,
    );
  }
  if (code === "ENOTDIR" || code === "EEXIST") {
    return new DataDirError(`${path} is a file or lies below one: move it away, or set another DATA_DIR.`);
  }
  if (code === "ENOSPC" || code === "EDQUOT") return new DataDirError(diskFull(path));
  if (code === "ENOENT") return new DataDirError(`${path} is missing: restore it from where the folder came from.`);
  return error instanceof Error ? error : new Error(String(message));
}

/** After a crash the file has either the old text or the new one. It never has another mode. */
export function writeFileDurably(path: string, text: string, mode: number): void {
  const temporary = `${path}.${process.pid}.tmp`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, text, { flag: "wx", mode, flush: true });
  renameSync(temporary, path);
  syncDirectory(dirname(path));
}

export function syncDirectory(path: string): void {
  // Windows cannot open a directory, and orders its metadata itself.
  if (process.platform === "win32") return;
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
