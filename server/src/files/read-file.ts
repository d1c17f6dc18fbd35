import type { FileHandle } from "node:fs/promises";
import { recordAuditEvent } from "../audit/audit.ts";
import { hasRole, type Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, RequestError } from "../errors.ts";
import { openTemporaryCopy } from "../lib/object-store/temporary-copy.ts";
import { transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type FileRow, findFile, findFileOfWorkspace, findFileToDelete, keyOf, thumbnailKeyOf } from "./file-rows.ts";
import { isShownSafely } from "./file-types.ts";
import { fromStore } from "./from-store.ts";
import { notCompleted } from "./not-completed.ts";
import { thumbnailType } from "./save-facts.ts";
import { type FileDeps, urlMs } from "./upload.ts";

export type OpenedLink =
  | { kind: "missing" }
  | { kind: "pending" }
  | { kind: "expired" }
  | { kind: "open"; file: FileRow; url: string; isShown: boolean; expiresAt: Date };

/**
 * Of a token of `FileLinks`. `pending`: it is still being received or scanned. `missing` also when the file was deleted.
 * The URL of the bytes is valid for minutes; `isShown`: a browser shows them.
 */
export async function openLink(
  { store, clock, links }: Pick<FileDeps, "store" | "clock" | "links">,
  dbOf: (workspaceId: string) => RequestDb,
  token: string,
): Promise<OpenedLink> {
  const link = links.open(token);
  if (link.kind !== "open") return link;
  const file = await findFileOfWorkspace(dbOf(link.workspaceId), link.workspaceId, link.fileId);
  if (file?.status === "receiving" || file?.status === "scanning") return { kind: "pending" };
  if (file?.status !== "completed") return { kind: "missing" };
  const url = await urlOf(store, file, new Date(clock.now() + pageUrlMs));
  return { kind: "open", file, url, isShown: isShownSafely(file.content_type!), expiresAt: link.expiresAt };
}

const pageUrlMs = 10 * 60_000;

/** CONFLICT unless the file is completed. */
export async function linkToFile(
  { store, clock }: FileDeps,
  db: RequestDb,
  principal: Principal,
  fileId: string,
): Promise<{ url: string; expiresAt: Date }> {
  const file = await findDownloadable(db, principal, fileId);
  const expiresAt = new Date(clock.now() + urlMs);
  return { url: await urlOf(store, file, expiresAt), expiresAt };
}

function urlOf(store: FileDeps["store"], file: FileRow, expiresAt: Date): Promise<string> {
  const contentType = file.content_type!;
  const disposition = isShownSafely(contentType) ? "inline" : "attachment";
  return store.downloadUrl(keyOf(file), { filename: file.filename, contentType, disposition, expiresAt });
}

/** CONFLICT unless the file is completed, RESOURCE_NOT_FOUND when it has no thumbnail. */
export async function linkToThumbnail(
  { store, clock }: FileDeps,
  db: RequestDb,
  principal: Principal,
  fileId: string,
): Promise<{ url: string; expiresAt: Date }> {
  const file = await findDownloadable(db, principal, fileId);
  if (!file.has_thumbnail) throw new RequestError("RESOURCE_NOT_FOUND", "This file has no thumbnail, or not yet.");
  const expiresAt = new Date(clock.now() + urlMs);
  const shown = { filename: `${file.filename}.webp`, contentType: thumbnailType, disposition: "inline" } as const;
  return { url: await store.downloadUrl(thumbnailKeyOf(file), { ...shown, expiresAt }), expiresAt };
}

async function findDownloadable(db: RequestDb, principal: Principal, fileId: string): Promise<FileRow> {
  const file = await findFile(db, principal, fileId);
  const error = notCompleted(file);
  if (error !== null) throw error;
  return file;
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
  const file = await findFileToDelete(db, principal, fileId);
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
