import { type FetchFileDeps, fetchFile, rejectFile } from "../../files/files.ts";
import type { Clock } from "../../lib/clock.ts";
import type { PoolClient } from "../../lib/postgres.ts";
import { createTask } from "../create-task.ts";
import { type TaskKind, TryLater } from "../task.ts";

/** How long one fetch may take: 100 MB at 350 kB/s. */
const timeoutMs = 5 * 60_000;
/** How long it is tried, in milliseconds: WhatsApp keeps files for 30 days. */
const patienceMs = 24 * 60 * 60_000;

const kind = "fetch";

/** Of a file whose row was added in the same transaction. */
export async function requestFetch(
  { clock }: { clock: Clock },
  tx: PoolClient,
  { workspaceId, fileId }: { workspaceId: string; fileId: string },
): Promise<void> {
  await createTask(tx, clock, { workspaceId, userId: null, kind, fileId });
}

/** Fetches a file that a person sent from the platform. The hub's own work. */
export function fetchKind(deps: FetchFileDeps): TaskKind {
  return {
    kind,
    timeoutMs,
    patienceMs,
    async run({ task, signal }) {
      const outcome = await fetchFile(deps, task.fileId!, signal);
      if (outcome.kind === "ended") return null;
      const { detail, afterMs } = outcome;
      throw new TryLater("FILE_UNAVAILABLE", detail, afterMs === null ? {} : { afterMs });
    },
    async ended(tx, { fileId }, end) {
      if (end.status === "failed") await rejectFile(tx, fileId!, "receiving", end.error);
    },
  };
}
