import type { PoolClient } from "../lib/postgres.ts";
import { run } from "../lib/query.ts";
import type { FileStatus } from "./file-rows.ts";
import type { StoredFile } from "./file-tasks.ts";
import type { FileDeps } from "./upload.ts";

type Deps = Pick<FileDeps, "clock" | "tasks" | "isScanned">;

/** What a file becomes when all its bytes are stored and were checked. */
export function whenStored({ clock, isScanned }: Deps): { status: FileStatus; completedAt: Date | null } {
  return isScanned
    ? { status: "scanning", completedAt: null }
    : { status: "completed", completedAt: new Date(clock.now()) };
}

/** In the transaction in which the file became that: what follows from it. */
export async function followStored(deps: Deps, tx: PoolClient, file: StoredFile): Promise<void> {
  if (deps.isScanned) await deps.tasks.scan(tx, file);
  else await followCompleted(deps, tx, file);
}

/** In the transaction that completes a file: the members of its conversation see it. */
export async function followCompleted({ tasks }: Pick<Deps, "tasks">, tx: PoolClient, file: StoredFile): Promise<void> {
  await tasks.describe(tx, file);
  if (file.conversation_id === null) return;
  await run(
    tx,
    "INSERT INTO file_conversations (file_id, workspace_id, conversation_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    [file.file_id, file.workspace_id, file.conversation_id],
  );
}
