import { describeFile, hasFacts } from "../../documents/documents.ts";
import { type StoredFile, saveFacts } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import type { PoolClient } from "../../lib/postgres.ts";
import { createTask } from "../create-task.ts";
import { type FileOfTaskDeps, maxReadBytes, readFileOfTask } from "../read-file-of-task.ts";
import type { TaskKind } from "../task.ts";

const kind = "facts";
const minute = 60_000;

/** Of a file that is completed in the same transaction. */
export async function requestFacts({ clock }: { clock: Clock }, tx: PoolClient, file: StoredFile): Promise<void> {
  if (!hasFacts(file.content_type!) || file.bytes > maxReadBytes) return;
  await createTask(tx, clock, { workspaceId: file.workspace_id, userId: null, kind, fileId: file.file_id });
}

/** Finds the size, the duration, the pages and the thumbnail of a file. The hub's own work. */
export function factsKind(deps: FileOfTaskDeps): TaskKind {
  const { db, store, clock } = deps;
  return {
    kind,
    timeoutMs: 5 * minute,
    patienceMs: 24 * 60 * minute,
    async run({ task, signal }) {
      await readFileOfTask(deps, task.fileId!, signal, async (file, row) => {
        const { durationMs, ...found } = await describeFile(file, { contentType: row.content_type!, clock, signal });
        await saveFacts({ db, store }, row, { ...found, duration_ms: durationMs });
      });
      return null;
    },
  };
}
