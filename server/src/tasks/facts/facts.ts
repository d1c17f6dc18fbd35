import type { PipelineDb } from "../../database-roles.ts";
import { DocumentError, describeFile, hasFacts } from "../../documents/documents.ts";
import { findCompletedFile, openFile, type StoredFile, saveFacts } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import type { ObjectStore } from "../../lib/object-store/object-store.ts";
import type { PoolClient } from "../../lib/postgres.ts";
import { createTask } from "../create-task.ts";
import { TaskFailure, type TaskKind } from "../task.ts";

interface FactsDeps {
  db: PipelineDb;
  store: ObjectStore;
  clock: Clock;
  /** For copies of files while they are read. */
  temporaryFolder: string;
}

const kind = "facts";
const minute = 60_000;
/** Facts about larger files are not looked for: each file is copied. */
const maxBytes = 200 * 1024 * 1024;

/** Of a file that is completed in the same transaction. */
export async function requestFacts({ clock }: { clock: Clock }, tx: PoolClient, file: StoredFile): Promise<void> {
  if (!hasFacts(file.content_type!) || file.bytes > maxBytes) return;
  await createTask(tx, clock, { workspaceId: file.workspace_id, userId: null, kind, fileId: file.file_id });
}

/** Finds the size, the duration, the pages and the thumbnail of a file. The hub's own work. */
export function factsKind(deps: FactsDeps): TaskKind {
  const { db, store, clock, temporaryFolder: folder } = deps;
  return {
    kind,
    timeoutMs: 5 * minute,
    patienceMs: 24 * 60 * minute,
    async run({ task, signal }) {
      const row = await findCompletedFile(db, task.fileId!);
      if (row === null) throw new TaskFailure("RESOURCE_NOT_FOUND", "The file was deleted.");
      await using file = await openFile({ store }, row, { folder, maxBytes, signal });
      const { durationMs, ...found } = await describeFile(file, {
        contentType: row.content_type!,
        clock,
        signal,
      }).catch((error) => {
        if (!(error instanceof DocumentError)) throw error;
        throw new TaskFailure(error.code, error.message, { cause: error });
      });
      await saveFacts({ db, store }, row, { ...found, duration_ms: durationMs });
      return null;
    },
  };
}
