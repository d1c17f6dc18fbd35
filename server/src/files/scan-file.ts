import type { PipelineDb } from "../database-roles.ts";
import { type Clamd, ClamdUnavailable, type ScanResult } from "../lib/clamd.ts";
import { type Log, transaction } from "../lib/postgres.ts";
import { maybe, run } from "../lib/query.ts";
import { keyOf, type Rejection, rejectFile } from "./file-rows.ts";
import type { StoredFile } from "./file-tasks.ts";
import { followCompleted } from "./follow-stored.ts";
import { fromStore } from "./from-store.ts";
import type { FileDeps } from "./upload.ts";

export interface ScanFileDeps extends Pick<FileDeps, "store" | "clock" | "tasks"> {
  db: PipelineDb;
  log: Log;
  /** Null when files are not scanned any more: those that wait for it are completed. */
  clamd: Clamd | null;
  /** Whether files that clamd does not scan to their end are completed. */
  acceptsUnscanned: boolean;
}

/**
 * Scans a file that waits for it, which then is `completed`, or `rejected` with FILE_INFECTED or FILE_NOT_SCANNED. Safe to
 * repeat. Throws `ClamdUnavailable`, errors as `fromStore`, and the reason of `signal`.
 */
export async function scanFile(deps: ScanFileDeps, fileId: string, signal: AbortSignal): Promise<void> {
  const { db, clock, tasks } = deps;
  const file = await maybe<StoredFile>(
    db,
    `SELECT file_id, workspace_id, conversation_id, content_type, bytes FROM files WHERE file_id = $1 AND status = 'scanning'`,
    [fileId],
  );
  if (file === null) return;
  const error = rejectionFor(await scan(deps, file, signal), deps, file);
  if (error !== null) return rejectFile(db, fileId, "scanning", error);
  await transaction(db, async (tx) => {
    const completed = await run(
      tx,
      "UPDATE files SET status = 'completed', completed_at = $2 WHERE file_id = $1 AND status = 'scanning'",
      [fileId, new Date(clock.now())],
    );
    if (completed === 1) await followCompleted({ tasks }, tx, file);
  });
  tasks.due();
}

export function notScanned(message: string): Rejection {
  return { code: "FILE_NOT_SCANNED", message };
}

async function scan({ clamd, store }: ScanFileDeps, file: StoredFile, signal: AbortSignal): Promise<ScanResult> {
  if (clamd === null) return { kind: "clean" };
  const source = await fromStore(store.read(keyOf(file)));
  try {
    return await clamd.scan(source, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ClamdUnavailable) throw error;
    return fromStore(Promise.reject(error));
  }
}

function rejectionFor(result: ScanResult, { log, acceptsUnscanned }: ScanFileDeps, file: StoredFile): Rejection | null {
  if (result.kind === "clean") return null;
  const { file_id, workspace_id, bytes } = file;
  log.warn(
    { file: file_id, workspace: workspace_id, bytes, ...result, acceptsUnscanned },
    "files: a scan found a problem",
  );
  switch (result.kind) {
    case "infected":
      return { code: "FILE_INFECTED", message: `The malware scan found ${result.signature.slice(0, maxNameLength)}.` };
    case "too_large":
      return acceptsUnscanned ? null : notScanned("The file is too large for the malware scan.");
    case "failed":
      return acceptsUnscanned ? null : notScanned("The malware scan cannot read the file.");
  }
}

const maxNameLength = 200;
