import type { FileHandle } from "node:fs/promises";
import { recordAuditEvent } from "../audit/audit.ts";
import { hasRole, type Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, RequestError } from "../errors.ts";
import { openTemporaryCopy } from "../lib/object-store/temporary-copy.ts";
import { transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type FileRow, findFile } from "./file-rows.ts";
import { isShownSafely } from "./file-types.ts";
import { fromStore } from "./from-store.ts";
import { type FileDeps, keyOf, urlMs } from "./upload.ts";

/** CONFLICT unless the file is completed. */
export async function linkToFile(
  { store, clock }: FileDeps,
  db: RequestDb,
  principal: Principal,
  fileId: string,
): Promise<{ url: string; expiresAt: Date }> {
  const file = await findFile(db, principal, fileId);
  if (file.status !== "completed") {
    throw new RequestError("CONFLICT", `This file is ${file.status}: there is nothing to download.`, {
      details: { status: file.status },
    });
  }
  const expiresAt = new Date(clock.now() + urlMs);
  const contentType = file.content_type!;
  const url = await store.downloadUrl(keyOf(file), {
    filename: file.filename,
    contentType,
    disposition: isShownSafely(contentType) ? "inline" : "attachment",
    expiresAt,
  });
  return { url, expiresAt };
}

/** A copy of the bytes, to read them here at any place: see `openTemporaryCopy`. Errors as `fromStore`. */
export function openFile(
  { store }: Pick<FileDeps, "store">,
  file: Pick<FileRow, "workspace_id" | "file_id">,
  options: Parameters<typeof openTemporaryCopy>[2],
): Promise<FileHandle> {
  return fromStore(openTemporaryCopy(store, keyOf(file), options));
}

/** By its uploader or an admin. Maintenance deletes the bytes. Safe to repeat. */
export async function deleteFile(db: RequestDb, principal: Principal, fileId: string): Promise<void> {
  const file = await findFile(db, principal, fileId);
  const isOwn = file.uploaded_by === principal.userId;
  if (!isOwn && !hasRole(principal, "admin")) throw forbidden("Only its uploader or an admin can delete a file.");
  await transaction(db, async (tx) => {
    const deleted = await run(
      tx,
      "UPDATE files SET status = 'deleted', expires_at = NULL WHERE file_id = $1 AND status <> 'deleted'",
      [fileId],
    );
    if (deleted === 0) return;
    await recordAuditEvent(tx, principal, { action: "file.deleted", target: { type: "file", id: fileId } });
  });
}
