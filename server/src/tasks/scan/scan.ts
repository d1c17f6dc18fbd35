import { notScanned, rejectFile, type ScanFileDeps, type StoredFile, scanFile } from "../../files/files.ts";
import { ClamdUnavailable } from "../../lib/clamd.ts";
import type { Clock } from "../../lib/clock.ts";
import type { PoolClient } from "../../lib/postgres.ts";
import type { Troubles } from "../../lib/troubles.ts";
import { createTask } from "../create-task.ts";
import { type TaskKind, TryLater } from "../task.ts";

const kind = "scan";
const part = "malware scan";
const minute = 60_000;
/** Of one scan: 2 GiB at 4 MB/s. */
const timeoutMs = 10 * minute;
/** How long files wait for clamd. */
const patienceMs = 30 * 24 * 60 * minute;

/** Of a file that is to be scanned from the same transaction on. */
export async function requestScan({ clock }: { clock: Clock }, tx: PoolClient, file: StoredFile): Promise<void> {
  await createTask(tx, clock, { workspaceId: file.workspace_id, userId: null, kind, fileId: file.file_id });
}

/** Has a file scanned for malware. The hub's own work. A file whose scan fails is rejected. */
export function scanKind(deps: ScanFileDeps & { troubles: Troubles }): TaskKind {
  const { troubles } = deps;
  return {
    kind,
    timeoutMs,
    patienceMs,
    async run({ task, signal }) {
      try {
        await scanFile(deps, task.fileId!, signal);
        troubles.worked(part);
        return null;
      } catch (error) {
        if (!(error instanceof ClamdUnavailable)) throw error;
        // Messages reach people meanwhile.
        troubles.failed(part, error, { isMinor: true });
        const message = "The malware scan cannot be used now. The file waits.";
        throw new TryLater("SCAN_UNAVAILABLE", message, { cause: error });
      }
    },
    async ended(tx, { fileId }, end) {
      if (end.status === "failed") await rejectFile(tx, fileId!, "scanning", notScanned(end.error.message));
    },
  };
}
