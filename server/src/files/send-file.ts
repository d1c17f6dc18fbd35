import type { Readable } from "node:stream";
import { hasScope, type Principal, requireScope } from "../credentials/credentials.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { forbidden, notFound, type RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { ObjectStore } from "../lib/object-store/object-store.ts";
import { maybe } from "../lib/query.ts";
import type { FileLinks } from "./file-links.ts";
import { type FileRow, findFile, findFiles, keyOf } from "./file-rows.ts";
import { notCompleted } from "./not-completed.ts";

/**
 * `pending`: it is still being received or checked. `late`: that takes so long that others must not wait for it.
 * `rejected`: it was received, and is not kept.
 */
export type FileToSend =
  | {
      kind: "ready";
      filename: string;
      contentType: string;
      bytes: number;
      open(): Promise<Readable>;
      /** To its page, for a limited time. */
      link(): string;
    }
  | { kind: "pending"; waitMs: number }
  | { kind: "late"; filename: string; link(): string }
  | { kind: "rejected"; filename: string }
  | { kind: "gone" };

/** Rejects while the database cannot be used. */
export type FindFileToSend = (workspaceId: string, fileId: string) => Promise<FileToSend>;

export function openFilesToSend(deps: {
  db: PipelineDb;
  store: ObjectStore;
  links: FileLinks;
  clock: Clock;
}): FindFileToSend {
  const { db, store, links, clock } = deps;
  return async (workspaceId, fileId) => {
    const file = await maybe<
      Pick<FileRow, "workspace_id" | "file_id" | "filename" | "bytes" | "content_type" | "status" | "created_at">
    >(
      db,
      `SELECT workspace_id, file_id, filename, bytes, content_type, status, created_at FROM files
       WHERE workspace_id = $1 AND file_id = $2`,
      [workspaceId, fileId],
    );
    const link = () => links.link({ workspaceId, fileId });
    switch (file?.status) {
      case "completed":
        return {
          kind: "ready",
          filename: file.filename,
          contentType: file.content_type!,
          bytes: file.bytes,
          open: () => store.read(keyOf(file)),
          link,
        };
      case "receiving":
      case "scanning": {
        const ageMs = clock.now() - file.created_at.getTime();
        if (ageMs < longestWaitMs) return { kind: "pending", waitMs: pendingWaitMs(ageMs) };
        return { kind: "late", filename: file.filename, link };
      }
      case "rejected":
        return { kind: "rejected", filename: file.filename };
      default:
        return { kind: "gone" };
    }
  };
}

/** How long messages to other people wait for a file that a person sent. */
const longestWaitMs = 10 * 60_000;

/** Shorter for a new file: half of its age. */
function pendingWaitMs(ageMs: number): number {
  return Math.min(30_000, Math.max(250, ageMs / 2));
}

/** FORBIDDEN for a key that may not read files, RESOURCE_NOT_FOUND, or CONFLICT unless it is completed. */
export async function fileToSend(db: RequestDb, principal: Principal, fileId: string): Promise<FileRow> {
  requireScope(principal, "files:read");
  const file = await findFile(db, principal, fileId);
  const error = notCompleted(file);
  if (error !== null) throw error;
  return file;
}

/** Of these files, why each that the caller may not send is refused. Errors as above. */
export async function findRefusedFiles(
  db: RequestDb,
  principal: Principal,
  fileIds: readonly string[],
): Promise<Map<string, RequestError>> {
  if (!hasScope(principal, "files:read")) {
    const error = forbidden("This API key lacks the scope files:read, which sending a file requires.");
    return new Map(fileIds.map((fileId) => [fileId, error]));
  }
  const found = new Map((await findFiles(db, principal, fileIds)).map((file) => [file.file_id, file]));
  return new Map(
    fileIds.flatMap((fileId): [string, RequestError][] => {
      const file = found.get(fileId);
      const error = file === undefined ? notFound("file") : notCompleted(file);
      return error === null ? [] : [[fileId, error]];
    }),
  );
}
