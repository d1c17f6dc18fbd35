import { Readable } from "node:stream";
import type { PipelineDb } from "../database-roles.ts";
import type { ObjectStore } from "../lib/object-store/object-store.ts";
import { run } from "../lib/query.ts";
import { type FileDescription, type FileRow, thumbnailKeyOf } from "./file-rows.ts";
import { fromStore } from "./from-store.ts";

export const thumbnailType = "image/webp";

export interface NewFacts extends Omit<FileDescription, "has_thumbnail"> {
  /** A WebP image. */
  thumbnail: Buffer | null;
}

/** Stores what was found out about a completed file, and its thumbnail. Safe to repeat. Errors as `fromStore`. */
export async function saveFacts(
  { db, store }: { db: PipelineDb; store: ObjectStore },
  file: Pick<FileRow, "workspace_id" | "file_id">,
  { width, height, duration_ms, pages, thumbnail }: NewFacts,
): Promise<void> {
  const key = thumbnailKeyOf(file);
  if (thumbnail !== null) {
    const source = Readable.from([thumbnail]);
    await fromStore(store.write(key, { contentType: thumbnailType, source, maxBytes: thumbnail.length }));
  }
  const saved = await run(
    db,
    `UPDATE files SET width = $2, height = $3, duration_ms = $4, pages = $5, has_thumbnail = $6
     WHERE file_id = $1 AND status = 'completed'`,
    [file.file_id, width, height, duration_ms, pages, thumbnail !== null],
  );
  // It was deleted meanwhile, perhaps after its objects.
  if (saved === 0) await fromStore(store.remove(key));
}
