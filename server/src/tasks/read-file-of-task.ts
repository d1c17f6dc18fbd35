import type { FileHandle } from "node:fs/promises";
import type { PipelineDb } from "../database-roles.ts";
import { DocumentError } from "../documents/documents.ts";
import { type FileRow, findCompletedFile, openFile } from "../files/files.ts";
import type { Clock } from "../lib/clock.ts";
import type { ObjectStore } from "../lib/object-store/object-store.ts";
import { TaskFailure } from "./task.ts";

export interface FileOfTaskDeps {
  db: PipelineDb;
  store: ObjectStore;
  clock: Clock;
  /** For copies of files while they are read. */
  temporaryFolder: string;
}

/** Of a file that is copied to be read, in bytes. */
export const maxReadBytes = 200 * 1024 * 1024;

/** Throws `TaskFailure` for a file that was deleted. */
export async function findFileOfTask(db: PipelineDb, fileId: string): Promise<FileRow> {
  const row = await findCompletedFile(db, fileId);
  if (row === null) throw new TaskFailure("RESOURCE_NOT_FOUND", "The file was deleted.");
  return row;
}

/** Reads a copy of a file. A `DocumentError` of `read` is a `TaskFailure`, and so is a file that was deleted. */
export async function readFileOfTask<Found>(
  { db, store, temporaryFolder }: FileOfTaskDeps,
  fileId: string,
  signal: AbortSignal,
  read: (file: FileHandle, row: FileRow) => Promise<Found>,
): Promise<Found> {
  const row = await findFileOfTask(db, fileId);
  await using file = await openFile({ store }, row, { folder: temporaryFolder, maxBytes: maxReadBytes, signal });
  try {
    return await read(file, row);
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new TaskFailure(error.code, error.message, { cause: error });
  }
}
