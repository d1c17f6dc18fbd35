import type { Principal } from "../../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../../database-roles.ts";
import { canRead, DocumentError, type ExtractedText, extractText, maxExtractMs } from "../../documents/documents.ts";
import { RequestError } from "../../errors.ts";
import { type FileRow, findCompletedFile, findFile, notCompleted, openFile } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import type { ObjectStore } from "../../lib/object-store/object-store.ts";
import { transaction } from "../../lib/postgres.ts";
import { createTask } from "../create-task.ts";
import { TaskFailure, type TaskKind, type TaskRun, type TaskStatus } from "../task.ts";

export interface ExtractDeps {
  db: PipelineDb;
  store: ObjectStore;
  clock: Clock;
  /** For copies of files while they are read. */
  temporaryFolder: string;
}

const kind = "extract";
const minute = 60_000;
/** Of a file that is read as a document. */
export const maxDocumentBytes = 200 * 1024 * 1024;
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
  if (bytes > maxDocumentBytes) {
    const message = `A document that is read has at most ${maxDocumentBytes.toLocaleString("en")} bytes.`;
    throw new RequestError("FILE_TOO_LARGE", message, { details: { limit: maxDocumentBytes } });
  }
}

/** The text of a file. Its result is the `ExtractedText` of documents/. */
export function extractKind(deps: ExtractDeps): TaskKind {
  return {
    kind,
    timeoutMs: maxExtractMs,
    patienceMs: 60 * minute,
    run: ({ task, signal, progress }) => extractFile(deps, task.fileId!, { signal, progress }),
  };
}

/** For runs of tasks: throws `TaskFailure`, such as for a file that was deleted. */
export async function extractFile(
  { db, store, clock, temporaryFolder }: ExtractDeps,
  fileId: string,
  { signal, progress }: Pick<TaskRun, "signal" | "progress">,
): Promise<ExtractedText> {
  const row = await findCompletedFile(db, fileId);
  if (row === null) throw new TaskFailure("RESOURCE_NOT_FOUND", "The file was deleted.");
  const place = { folder: temporaryFolder, maxBytes: maxDocumentBytes, signal };
  await using file = await openFile({ store }, row, place);
  progress(copiedPercent);
  try {
    return await extractText(file, {
      contentType: row.content_type!,
      filename: row.filename,
      clock,
      signal,
      onProgress: ({ done, total }) => progress(copiedPercent + ((100 - copiedPercent) * done) / total),
    });
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new TaskFailure(error.code, error.message, { cause: error });
  }
}
