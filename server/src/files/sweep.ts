import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import type { ObjectStore } from "../lib/object-store/object-store.ts";
import { all, run } from "../lib/query.ts";
import { keyOf, thumbnailKeyOf } from "./file-rows.ts";

interface SweepDeps {
  db: PipelineDb;
  clock: Clock;
  store: ObjectStore;
  uploadTtlMs: number;
}

/** Of one run of the job. */
const page = 200;

/** Uploads that were not completed in time are deleted. Returns how many. */
export function giveUpUploads({ db, clock }: Pick<SweepDeps, "db" | "clock">): Promise<number> {
  return run(
    db,
    `UPDATE files SET status = 'deleted', expires_at = NULL WHERE file_id IN (
       SELECT file_id FROM files WHERE status = 'uploading' AND expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    [new Date(clock.now()), page],
  );
}

/** Deletes the bytes of files that were deleted or rejected. Safe to repeat. Returns how many. */
export async function removeObjects({ db, store }: Pick<SweepDeps, "db" | "store">): Promise<number> {
  const files = await all<{ file_id: string; workspace_id: string; upload_id: string | null }>(
    db,
    `SELECT file_id, workspace_id, upload_id FROM files WHERE status IN ('rejected', 'deleted') AND object_left LIMIT $1`,
    [page],
  );
  for (const file of files) {
    const key = keyOf(file);
    if (file.upload_id !== null) await store.abort({ key, uploadId: file.upload_id });
    await store.remove(key);
    await store.remove(thumbnailKeyOf(file));
    await run(db, "UPDATE files SET object_left = false, upload_id = NULL WHERE file_id = $1", [file.file_id]);
  }
  return files.length;
}

/** Uploads that no row knows: the hub ended between their start and the commit of the row. Twice as old as any other. */
export async function abortStrayUploads({
  store,
  clock,
  uploadTtlMs,
}: Pick<SweepDeps, "store" | "clock" | "uploadTtlMs">): Promise<void> {
  let left = page;
  for await (const upload of store.uploadsBefore(new Date(clock.now() - 2 * uploadTtlMs))) {
    await store.abort(upload);
    left -= 1;
    if (left === 0) return;
  }
}
