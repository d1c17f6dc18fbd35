import type { Principal } from "../../credentials/credentials.ts";
import type { RequestDb } from "../../database-roles.ts";
import { canRead, type ExtractedText, extractText, maxExtractMs } from "../../documents/documents.ts";
import { RequestError } from "../../errors.ts";
import { type FileRow, findFile, notCompleted } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import { transaction } from "../../lib/postgres.ts";
import { createTask } from "../create-task.ts";
import { type FileOfTaskDeps, maxReadBytes, readFileOfTask } from "../read-file-of-task.ts";
import type { TaskKind, TaskRun, TaskStatus } from "../task.ts";

const kind = "extract";
const minute = 60_000;
/** What the copy of the file counts for, in percent. */
const copiedPercent = 3;

/**
 * For a file that the caller sees: RESOURCE_NOT_FOUND, CONFLICT unless it is completed, DOCUMENT_TYPE_UNSUPPORTED,
 * FILE_TOO_LARGE, and RATE_LIMIT_EXCEEDED as `createTask`.
 */
export async function requestExtract(
  { clock }: { clock: Clock },
  db: RequestDb,
  principal: Principal,
  fileId: string,
): Promise<{ taskId: string; status: TaskStatus }> {
  requireDocument(await findFile(db, principal, fileId));
  const { workspaceId, userId } = principal;
  return transaction(db, (tx) => createTask(tx, clock, { workspaceId, userId, kind, fileId }));
}

/** Whether text can be extracted from the file, as far as its row says. Errors as above. */
export function requireDocument(file: FileRow): void {
  const error = notCompleted(file);
  if (error !== null) throw error;
  const { content_type, filename, bytes } = file;
  if (!canRead(content_type!, filename)) {
    const message = `Files of the type ${content_type} are not read as documents.`;
    throw new RequestError("DOCUMENT_TYPE_UNSUPPORTED", message, { details: { content_type } });
  }
  if (bytes > maxReadBytes) {
    const message = `A document that is read has at most ${maxReadBytes.toLocaleString("en")} bytes.`;
    throw new RequestError("FILE_TOO_LARGE", message, { details: { limit: maxReadBytes } });
  }
}

/** The text of a file. Its result is the `ExtractedText` of documents/. */
export function extractKind(deps: FileOfTaskDeps): TaskKind {
  return {
    kind,
    timeoutMs: maxExtractMs,
    patienceMs: 60 * minute,
    run: ({ task, signal, progress }) => extractFile(deps, task.fileId!, { signal, progress }),
  };
}

/** For runs of tasks. Errors as `readFileOfTask`. */
export function extractFile(
  deps: FileOfTaskDeps,
  fileId: string,
  { signal, progress }: Pick<TaskRun, "signal" | "progress">,
): Promise<ExtractedText> {
  return readFileOfTask(deps, fileId, signal, (file, row) => {
    progress(copiedPercent);
    return extractText(file, {
      contentType: row.content_type!,
      filename: row.filename,
      clock: deps.clock,
      signal,
      onProgress: ({ done, total }) => progress(copiedPercent + ((100 - copiedPercent) * done) / total),
    });
  });
}
