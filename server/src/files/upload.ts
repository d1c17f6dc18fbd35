import { maxFileBytes, maxParts } from "../../../contract/src/files.ts";
import { findConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type ConversationId, newId } from "../lib/ids.ts";
import { leastPartBytes, type ObjectStore, type StoredPart, type Upload } from "../lib/object-store/object-store.ts";
import { transaction } from "../lib/postgres.ts";
import type { FileLinks } from "./file-links.ts";
import { type FileRow, findOwnFile, insertFile, keyOf } from "./file-rows.ts";
import type { FileTasks } from "./file-tasks.ts";
import { type AllowedTypes, unknownType } from "./file-types.ts";
import { fromStore } from "./from-store.ts";

export interface FileDeps {
  store: ObjectStore;
  links: FileLinks;
  clock: Clock;
  allowedTypes: AllowedTypes;
  /** Bytes of all files of a workspace; null: no limit. */
  quotaBytes: number | null;
  /** How long an upload may take. */
  uploadTtlMs: number;
  tasks: FileTasks;
  /** Files are `scanning` before they are completed. */
  isScanned: boolean;
}

const mebibyte = 1024 * 1024;

/** Whole MiB, so that there are at most 256; small ones for small files, so that a slow client can send each in time. */
export function partBytesFor(size: number): number {
  return Math.max(leastPartBytes, Math.ceil(size / maxParts / mebibyte) * mebibyte);
}

/** How long URLs of parts and of downloads are valid. */
export const urlMs = 60 * 60_000;

export interface NewUpload {
  filename: string;
  size: number;
  content_type?: string | undefined;
  checksum?: string | undefined;
  conversation_id?: string | undefined;
}

export interface UploadPart {
  number: number;
  bytes: number;
  /** Null when the part is stored. */
  url: string | null;
  /** Null when the part is missing. */
  etag: string | null;
}

export interface StartedUpload {
  file: FileRow;
  parts: UploadPart[];
  urlsExpireAt: Date;
}

/** FILE_TOO_LARGE, FILE_TYPE_INVALID, CONFLICT over the quota, RESOURCE_NOT_FOUND for the conversation. */
export async function startUpload(
  deps: FileDeps,
  db: RequestDb,
  principal: Principal,
  input: NewUpload,
): Promise<StartedUpload> {
  const { store, clock, uploadTtlMs } = deps;
  const { filename, size, content_type = null, checksum = null, conversation_id = null } = input;
  const { workspaceId, userId } = principal;
  requireSize(size);
  deps.allowedTypes.requireDeclared(content_type);
  if (conversation_id !== null) await findConversation(db, principal, conversation_id as ConversationId);
  const now = clock.now();
  const fileId = newId(now);
  const key = keyOf({ workspace_id: workspaceId, file_id: fileId });
  const partBytes = partBytesFor(size);
  const upload = await fromStore(store.begin(key, { contentType: content_type ?? unknownType }));
  try {
    await transaction(db, async (tx) => {
      const used = await insertFile(tx, {
        file_id: fileId,
        workspace_id: workspaceId,
        uploaded_by: userId,
        filename,
        bytes: size,
        content_type,
        checksum,
        conversation_id,
        upload_id: upload.uploadId,
        part_bytes: partBytes,
        created_at: new Date(now),
        expires_at: new Date(now + uploadTtlMs),
      });
      requireQuota(deps, used);
    });
  } catch (error) {
    // What is left of it is swept.
    await store.abort(upload).catch(() => {});
    throw error;
  }
  return describeUpload(deps, await findOwnFile(db, principal, fileId), []);
}

function requireSize(size: number): void {
  if (size > maxFileBytes) throw fileTooLarge();
}

export function fileTooLarge(): RequestError {
  return new RequestError("FILE_TOO_LARGE", `A file has at most ${maxFileBytes.toLocaleString("en")} bytes (2 GiB).`, {
    details: { limit: maxFileBytes },
  });
}

export function requireQuota({ quotaBytes }: FileDeps, usedBytes: number): void {
  if (quotaBytes !== null && usedBytes > quotaBytes) throw overQuota(quotaBytes);
}

export function overQuota(quotaBytes: number): RequestError {
  return new RequestError(
    "CONFLICT",
    `The files of this workspace would take more than its quota of ${quotaBytes.toLocaleString("en")} bytes. Delete files first.`,
    { details: { quota: quotaBytes } },
  );
}

/** To resume. CONFLICT unless it is being uploaded, RESOURCE_NOT_FOUND for the file of another uploader. */
export async function findUpload(
  deps: FileDeps,
  db: RequestDb,
  principal: Principal,
  fileId: string,
): Promise<StartedUpload> {
  const file = await findOwnFile(db, principal, fileId);
  return describeUpload(deps, file, await fromStore(deps.store.listParts(uploadOf(file))));
}

/** CONFLICT unless it is being uploaded. */
export function uploadOf(file: FileRow): Upload {
  if (file.status !== "uploading" || file.upload_id === null) {
    throw new RequestError("CONFLICT", `This file is ${file.status}: only an upload has parts.`, {
      details: { status: file.status },
    });
  }
  return { key: keyOf(file), uploadId: file.upload_id };
}

async function describeUpload(
  { store, clock }: FileDeps,
  file: FileRow,
  stored: readonly StoredPart[],
): Promise<StartedUpload> {
  const upload = uploadOf(file);
  const urlsExpireAt = new Date(clock.now() + urlMs);
  const etags = new Map(
    stored.filter((part) => part.bytes === bytesOfPart(file, part.number)).map((part) => [part.number, part.etag]),
  );
  const parts = await Promise.all(
    Array.from({ length: countParts(file) }, async (_, index): Promise<UploadPart> => {
      const number = index + 1;
      const bytes = bytesOfPart(file, number);
      const etag = etags.get(number) ?? null;
      return {
        number,
        bytes,
        etag,
        url: etag === null ? await store.partUrl(upload, { number, bytes }, urlsExpireAt) : null,
      };
    }),
  );
  return { file, parts, urlsExpireAt };
}

/** An empty file has one part without bytes. */
export function countParts({ bytes, part_bytes }: Pick<FileRow, "bytes" | "part_bytes">): number {
  return Math.min(maxParts, Math.max(1, Math.ceil(bytes / part_bytes)));
}

export function bytesOfPart({ bytes, part_bytes }: Pick<FileRow, "bytes" | "part_bytes">, number: number): number {
  return Math.min(part_bytes, bytes - (number - 1) * part_bytes);
}
