import { createHash } from "node:crypto";
import { finished } from "node:stream/promises";
import { findConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { pause } from "../lib/clock.ts";
import { freeMemory } from "../lib/free-memory.ts";
import type { ConversationId } from "../lib/ids.ts";
import { type ByteRange, ObjectStoreError, type StoredPart, type Upload } from "../lib/object-store/object-store.ts";
import { transaction } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import { type FileRow, findOwnFile, keyOf, type Rejection, rejectFile } from "./file-rows.ts";
import { followStored, whenStored } from "./follow-stored.ts";
import { fromStore } from "./from-store.ts";
import { bytesOfPart, countParts, type FileDeps, uploadOf } from "./upload.ts";

export interface UploadEnd {
  file_id: string;
  checksum: string;
  parts?: readonly { part_number: number; etag: string }[] | undefined;
}

/**
 * Puts the parts together, and verifies the bytes. Safe to repeat after any failure, and at the same time. CONFLICT when parts
 * are missing; CHECKSUM_MISMATCH and FILE_TYPE_INVALID leave the file rejected.
 */
export async function completeUpload(
  deps: FileDeps,
  db: RequestDb,
  principal: Principal,
  { file_id, checksum, parts: claimed }: UploadEnd,
): Promise<FileRow> {
  const file = await findOwnFile(db, principal, file_id);
  if (file.checksum !== null && file.checksum !== checksum && file.status !== "rejected") {
    throw new RequestError("CONFLICT", "This checksum is not the one with which the upload started or ended.");
  }
  if (file.status === "completed" || file.status === "scanning") return file;
  if (file.status === "rejected") throw rejection(file);
  const upload = uploadOf(file);
  // The uploader may have left it since the upload was started.
  if (file.conversation_id !== null) await findConversation(db, principal, file.conversation_id as ConversationId);
  const parts = await fromStore(assemble(deps, file, upload, claimed));
  const error = await fromStore(wrongChecksum(deps, file, checksum, parts));
  if (error !== null) return reject(db, principal, file, error);
  const ended = await finishFile(deps, db, principal, file, checksum);
  // It was deleted meanwhile.
  if (ended.status === "deleted") uploadOf(ended);
  return ended;
}

/**
 * Completes a file of which all bytes are stored and have this checksum, or has it scanned before. FILE_TYPE_INVALID leaves
 * it rejected. Returns it as it is when it was deleted meanwhile.
 */
export async function finishFile(
  deps: FileDeps,
  db: RequestDb,
  principal: Principal,
  file: FileRow,
  checksum: string,
): Promise<FileRow> {
  const found = await fromStore(deps.allowedTypes.find(file, (range) => deps.store.read(keyOf(file), range)));
  if (found.kind === "refused") {
    return reject(db, principal, file, { code: "FILE_TYPE_INVALID", message: found.message });
  }
  const { status, completedAt } = whenStored(deps);
  await transaction(db, async (tx) => {
    const stored = await run(
      tx,
      `UPDATE files SET status = $2, content_type = $3, checksum = $4, completed_at = $5, expires_at = NULL, upload_id = NULL
       WHERE file_id = $1 AND status = 'uploading'`,
      [file.file_id, status, found.contentType, checksum, completedAt],
    );
    if (stored === 1) await followStored(deps, tx, { ...file, content_type: found.contentType });
  });
  deps.tasks.due();
  const ended = await findOwnFile(db, principal, file.file_id);
  if (ended.status === "rejected") throw rejection(ended);
  return ended;
}

const assembleTries = 5;
const firstPauseMs = 50;

/** The parts; none when they were put together before, by an earlier request or at the same time. */
async function assemble(
  { store, clock }: FileDeps,
  file: FileRow,
  upload: Upload,
  claimed: UploadEnd["parts"],
): Promise<readonly StoredPart[]> {
  for (let tries = 1; ; tries += 1) {
    if ((await store.stat(upload.key)) !== null) return [];
    try {
      const parts = await store.listParts(upload);
      requireParts(file, parts, claimed);
      await store.complete(upload, parts);
      return parts;
    } catch (error) {
      // While another request puts them together, there is neither an upload nor an object.
      const mayBeUnderWay = error instanceof ObjectStoreError && error.code === "upload_missing";
      if (!mayBeUnderWay || tries === assembleTries) throw error;
      await pause(clock, firstPauseMs * 2 ** (tries - 1));
    }
  }
}

function requireParts(file: FileRow, stored: readonly StoredPart[], claimed: UploadEnd["parts"]): void {
  const byNumber = new Map(stored.map((part) => [part.number, part]));
  const numbers = Array.from({ length: countParts(file) }, (_, index) => index + 1);
  const missing = numbers.filter((number) => byNumber.get(number)?.bytes !== bytesOfPart(file, number));
  if (missing.length > 0) {
    throw new RequestError("CONFLICT", `Parts of this file are missing: ${missing.slice(0, 20).join(", ")}.`, {
      details: { missing: missing.length },
    });
  }
  const changed = claimed?.find(({ part_number, etag }) => byNumber.get(part_number)?.etag !== etag);
  if (changed !== undefined) {
    throw new RequestError("CONFLICT", `Part ${changed.part_number} is stored with another etag: upload it again.`);
  }
}

/** Reads the file once, unless the checksum is one of parts and the store keeps theirs. */
async function wrongChecksum(
  { store }: FileDeps,
  file: FileRow,
  checksum: string,
  parts: readonly StoredPart[],
): Promise<Rejection | null> {
  const isOfParts = checksum.includes("-");
  const known = parts.length > 0 && parts.every((part) => part.sha256 !== null);
  const found = isOfParts
    ? checksumOfParts(known ? parts.map((part) => part.sha256!) : await hashParts(store, file))
    : await hash(store, keyOf(file));
  if (found === checksum) return null;
  return { code: "CHECKSUM_MISMATCH", message: `The stored bytes have another SHA-256: ${found}.` };
}

function checksumOfParts(hashes: readonly string[]): string {
  const whole = createHash("sha256")
    .update(Buffer.from(hashes.join(""), "hex"))
    .digest("hex");
  return `${whole}-${hashes.length}`;
}

async function hash(store: FileDeps["store"], key: string, range?: ByteRange): Promise<string> {
  const sha256 = createHash("sha256");
  const bytes = await store.read(key, range);
  bytes.on("data", (chunk: Buffer) => {
    sha256.update(chunk);
    freeMemory(chunk);
  });
  await finished(bytes);
  return sha256.digest("hex");
}

async function hashParts(store: FileDeps["store"], file: FileRow): Promise<string[]> {
  const hashes: string[] = [];
  for (let number = 1; number <= countParts(file); number += 1) {
    const start = (number - 1) * file.part_bytes;
    const bytes = bytesOfPart(file, number);
    hashes.push(
      bytes === 0
        ? createHash("sha256").digest("hex")
        : await hash(store, keyOf(file), { start, end: start + bytes - 1 }),
    );
  }
  return hashes;
}

async function reject(db: RequestDb, principal: Principal, file: FileRow, error: Rejection): Promise<never> {
  await rejectFile(db, file.file_id, "uploading", error);
  throw rejection(await findOwnFile(db, principal, file.file_id));
}

function rejection({ error }: FileRow): RequestError {
  const { code, message } = error ?? { code: "", message: "The file was rejected." };
  if (code === "FILE_INFECTED" || code === "FILE_NOT_SCANNED") return new RequestError(code, message);
  if (code === "CHECKSUM_MISMATCH") return new RequestError(code, `${message} Upload it again.`);
  return new RequestError("FILE_TYPE_INVALID", message);
}
