import type { Readable } from "node:stream";
import { maxFileBytes } from "../../../contract/src/files.ts";
import { findConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { type ConversationId, newId } from "../lib/ids.ts";
import { ObjectStoreError, type WrittenObject } from "../lib/object-store/object-store.ts";
import { transaction } from "../lib/postgres.ts";
import { finishFile } from "./complete.ts";
import { type FileRow, findOwnFile, findUsage, insertFile, keyOf } from "./file-rows.ts";
import { unknownType } from "./file-types.ts";
import { fromStore } from "./from-store.ts";
import { type FileDeps, fileTooLarge, overQuota, partBytesFor, requireQuota } from "./upload.ts";

export interface FileFacts {
  filename: string;
  conversation_id?: string | undefined;
  checksum?: string | undefined;
}

/**
 * Stores a file that arrives in one piece, with backpressure. `facts` is called before the bytes are read, with what is
 * known by then, and after. Until all has arrived and was checked there is no row, and what the store has is deleted.
 * FILE_TOO_LARGE, CHECKSUM_MISMATCH, CONFLICT over the quota, RESOURCE_NOT_FOUND for the conversation, and
 * FILE_TYPE_INVALID, which leaves the file rejected.
 */
export async function receiveFile(
  deps: FileDeps,
  db: RequestDb,
  principal: Principal,
  { content, facts }: { content: Readable; facts: (when: "before" | "after") => Promise<FileFacts> },
): Promise<FileRow> {
  const { store, clock, quotaBytes } = deps;
  const { workspaceId, userId } = principal;
  await requireConversation(db, principal, await facts("before"));
  const room = quotaBytes === null ? maxFileBytes : Math.max(0, quotaBytes - (await findUsage(db, principal)));
  const now = clock.now();
  const fileId = newId(now);
  const key = keyOf({ workspace_id: workspaceId, file_id: fileId });

  async function insert({ bytes, sha256 }: WrittenObject): Promise<void> {
    const said = await facts("after");
    const { filename, checksum = sha256, conversation_id = null } = said;
    if (checksum !== sha256) {
      throw new RequestError("CHECKSUM_MISMATCH", `The bytes that arrived have another SHA-256: ${sha256}.`);
    }
    await requireConversation(db, principal, said);
    await transaction(db, async (tx) => {
      const used = await insertFile(tx, {
        file_id: fileId,
        workspace_id: workspaceId,
        uploaded_by: userId,
        filename,
        bytes,
        content_type: null,
        checksum,
        conversation_id,
        upload_id: null,
        part_bytes: partBytesFor(bytes),
        created_at: new Date(now),
        expires_at: new Date(clock.now() + deps.uploadTtlMs),
      });
      requireQuota(deps, used);
    });
  }

  const maxBytes = Math.min(maxFileBytes, room);
  const writing = store.write(key, { contentType: unknownType, source: content, maxBytes, onReceived: insert });
  const { sha256 } = await fromStore(writing).catch((error: Error) => {
    if (!(error.cause instanceof ObjectStoreError) || error.cause.code !== "too_large") throw error;
    throw maxBytes < maxFileBytes ? overQuota(quotaBytes!) : fileTooLarge();
  });
  const file = await finishFile(deps, db, principal, await findOwnFile(db, principal, fileId), sha256);
  if (file.status !== "deleted") return file;
  // It was deleted meanwhile, perhaps before there was an object.
  await fromStore(store.remove(key));
  throw new RequestError("CONFLICT", "This file was deleted while it arrived.");
}

async function requireConversation(db: RequestDb, principal: Principal, { conversation_id }: FileFacts): Promise<void> {
  if (conversation_id !== undefined) await findConversation(db, principal, conversation_id as ConversationId);
}
