import { all, type Db } from "../lib/query.ts";
import { type FileRow, fileColumns } from "./file-rows.ts";

/** As the contract has it. */
export type ShownFile = ReturnType<typeof showFile>;

export function showFile(file: FileRow) {
  const isKnown = file.completed_at !== null;
  return {
    file_id: file.file_id,
    filename: file.filename,
    size: file.bytes,
    content_type: isKnown ? file.content_type : null,
    checksum: isKnown ? file.checksum : null,
    status: file.status,
    error: file.error,
    width: file.width,
    height: file.height,
    duration_ms: file.duration_ms,
    pages: file.pages,
    has_thumbnail: file.has_thumbnail,
    uploaded_by: file.uploaded_by,
    created_at: file.created_at.toISOString(),
    completed_at: file.completed_at?.toISOString() ?? null,
    expires_at: file.expires_at?.toISOString() ?? null,
  };
}

/** By id. The caller has checked the access. */
export async function showFiles(
  db: Db,
  workspaceId: string,
  fileIds: readonly string[],
): Promise<Map<string, ShownFile>> {
  if (fileIds.length === 0) return new Map();
  const text = `SELECT ${fileColumns} FROM files f WHERE f.workspace_id = $1 AND f.file_id = ANY ($2)`;
  const rows = await all<FileRow>(db, text, [workspaceId, [...new Set(fileIds)]]);
  return new Map(rows.map((row) => [row.file_id, showFile(row)]));
}
