import { hasRole, type Principal, seesAllConversations } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { notFound } from "../errors.ts";
import { derivedId, msOf } from "../lib/ids.ts";
import { all, type Db, maybe, run } from "../lib/query.ts";

export type FileStatus = "uploading" | "receiving" | "scanning" | "completed" | "rejected" | "deleted";

/** What a task finds out after the file was completed. */
export interface FileDescription {
  /** Pixels, as it is shown. */
  width: number | null;
  height: number | null;
  duration_ms: number | null;
  /** Of a PDF. */
  pages: number | null;
  has_thumbnail: boolean;
}

/** Why a file is rejected. */
export interface Rejection {
  code: string;
  message: string;
}

export interface FileRow extends FileDescription {
  file_id: string;
  workspace_id: string;
  uploaded_by: string;
  filename: string;
  bytes: number;
  content_type: string | null;
  checksum: string | null;
  status: FileStatus;
  error: Rejection | null;
  conversation_id: string | null;
  upload_id: string | null;
  part_bytes: number;
  created_at: Date;
  completed_at: Date | null;
  expires_at: Date | null;
}

/** Of its object in the store. */
export function keyOf({ workspace_id, file_id }: Pick<FileRow, "workspace_id" | "file_id">): string {
  return `${workspace_id}/${file_id}`;
}

/** Derived from the file's, so that it can be deleted whether or not there is a thumbnail. */
export function thumbnailKeyOf({ workspace_id, file_id }: Pick<FileRow, "workspace_id" | "file_id">): string {
  return `${workspace_id}/${derivedId(msOf(file_id), "thumbnail", file_id)}`;
}

export const fileColumns = `f.file_id, f.workspace_id, f.uploaded_by, f.filename, f.bytes, f.content_type, f.checksum, f.status, f.error,
  f.conversation_id, f.upload_id, f.part_bytes, f.created_at, f.completed_at, f.expires_at,
  f.width, f.height, f.duration_ms, f.pages, f.has_thumbnail`;

/** Its uploader's, or sent in a conversation of the caller. RESOURCE_NOT_FOUND. */
export async function findFile(db: Db, principal: Principal, fileId: string): Promise<FileRow> {
  const [row] = await findFiles(db, principal, [fileId]);
  if (row === undefined) throw notFound("file");
  return row;
}

/** Also that of another uploader which was never sent, for admins. RESOURCE_NOT_FOUND. */
export async function findFileToDelete(db: Db, principal: Principal, fileId: string): Promise<FileRow> {
  if (!hasRole(principal, "admin")) return findFile(db, principal, fileId);
  const row = await findFileOfWorkspace(db, principal.workspaceId, fileId);
  if (row === null) throw notFound("file");
  return row;
}

/** In any order, without those that the caller does not see. */
export function findFiles(db: Db, principal: Principal, fileIds: readonly string[]): Promise<FileRow[]> {
  return all(
    db,
    `SELECT ${fileColumns} FROM files f WHERE f.workspace_id = $4 AND f.file_id = ANY ($1) AND (f.uploaded_by = $2 OR EXISTS (
       SELECT FROM file_conversations s WHERE s.file_id = f.file_id AND ($3 OR EXISTS (
         SELECT FROM members m WHERE m.conversation_id = s.conversation_id AND m.participant_id = $2))))`,
    [fileIds, principal.userId, seesAllConversations(principal), principal.workspaceId],
  );
}

/** Also one that the caller does not see: check the access first. */
export function findFileOfWorkspace(db: Db, workspaceId: string, fileId: string): Promise<FileRow | null> {
  return maybe(db, `SELECT ${fileColumns} FROM files f WHERE f.workspace_id = $1 AND f.file_id = $2`, [
    workspaceId,
    fileId,
  ]);
}

/** RESOURCE_NOT_FOUND also for the file of another uploader. */
export async function findOwnFile(db: Db, principal: Principal, fileId: string): Promise<FileRow> {
  const row = await maybe<FileRow>(
    db,
    `SELECT ${fileColumns} FROM files f WHERE f.workspace_id = $3 AND f.file_id = $1 AND f.uploaded_by = $2`,
    [fileId, principal.userId, principal.workspaceId],
  );
  if (row === null) throw notFound("file");
  return row;
}

/** Null also for one that was deleted. */
export function findCompletedFile(db: PipelineDb, fileId: string): Promise<FileRow | null> {
  return maybe(db, `SELECT ${fileColumns} FROM files f WHERE f.file_id = $1 AND f.status = 'completed'`, [fileId]);
}

/** Newest first, without those that were deleted. */
export function listOwnFiles(
  db: RequestDb,
  principal: Principal,
  { limit, after }: { limit: number; after?: { at: Date; id: string } | undefined },
): Promise<FileRow[]> {
  return all(
    db,
    `SELECT ${fileColumns} FROM files f WHERE f.workspace_id = $3 AND f.uploaded_by = $1 AND f.status <> 'deleted'
       AND ($4::timestamptz IS NULL OR (f.created_at, f.file_id) < ($4, $5))
     ORDER BY f.created_at DESC, f.file_id DESC LIMIT $2`,
    [principal.userId, limit, principal.workspaceId, after?.at ?? null, after?.id ?? null],
  );
}

export type NewFile = Omit<FileRow, "status" | "error" | "completed_at" | keyof FileDescription>;

/** Returns the bytes of all files of the workspace, this one included; others that are added wait for the commit. */
export async function insertFile(db: Db, file: NewFile): Promise<number> {
  await run(
    db,
    `INSERT INTO files (file_id, workspace_id, uploaded_by, filename, bytes, content_type, checksum, status, conversation_id,
       upload_id, part_bytes, created_at, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'uploading', $8, $9, $10, $11, $12)`,
    [
      file.file_id,
      file.workspace_id,
      file.uploaded_by,
      file.filename,
      file.bytes,
      file.content_type,
      file.checksum,
      file.conversation_id,
      file.upload_id,
      file.part_bytes,
      file.created_at,
      file.expires_at,
    ],
  );
  return findUsage(db, { workspaceId: file.workspace_id });
}

/** Changes nothing unless the file has the status `from`: safe to repeat. */
export async function rejectFile(db: Db, fileId: string, from: FileStatus, error: Rejection): Promise<void> {
  await run(
    db,
    "UPDATE files SET status = 'rejected', error = $3, expires_at = NULL WHERE file_id = $1 AND status = $2",
    [fileId, from, JSON.stringify(error)],
  );
}

/** The bytes of all files of the workspace. */
export async function findUsage(db: Db, { workspaceId }: Pick<Principal, "workspaceId">): Promise<number> {
  const usage = await maybe<{ bytes: number }>(db, "SELECT bytes FROM file_usage WHERE workspace_id = $1", [
    workspaceId,
  ]);
  return usage?.bytes ?? 0;
}
