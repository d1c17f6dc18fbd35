import { RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import type { PoolClient } from "../lib/postgres.ts";
import { one } from "../lib/query.ts";
import type { TaskOptions, TaskStatus } from "./task.ts";

export interface NewTask {
  workspaceId: string;
  /** Who asked for it, and alone sees it besides admins; null: the hub's own work. */
  userId: string | null;
  kind: string;
  fileId?: string | null;
  options?: TaskOptions;
}

/** Unfinished tasks of one user. */
export const maxUnfinished = 100;
const retrySeconds = 30;

/**
 * Creates a task in the caller's transaction; call `notifier.due()` after its commit. While the same user's task of this
 * kind, file and options is unfinished, returns that one. RATE_LIMIT_EXCEEDED for a user with `maxUnfinished` others.
 */
export async function createTask(
  tx: PoolClient,
  clock: Clock,
  { workspaceId, userId, kind, fileId = null, options = {} }: NewTask,
): Promise<{ taskId: string; status: TaskStatus }> {
  const now = clock.now();
  const id = newId(now);
  const task = await one<{ task_id: string; status: TaskStatus }>(
    tx,
    `INSERT INTO tasks AS t (task_id, workspace_id, user_id, kind, file_id, options, created_at, run_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
     ON CONFLICT (workspace_id, kind, file_id, user_id, md5(options::text)) WHERE status IN ('pending', 'running')
     DO UPDATE SET status = t.status
     RETURNING task_id, status`,
    [id, workspaceId, userId, kind, fileId, JSON.stringify(options), new Date(now)],
  );
  if (userId !== null && task.task_id === id) {
    const { unfinished } = await one<{ unfinished: number }>(
      tx,
      "SELECT count(*)::integer AS unfinished FROM tasks WHERE queue_id = $1 AND status IN ('pending', 'running')",
      [userId],
    );
    if (unfinished > maxUnfinished) {
      throw new RequestError("RATE_LIMIT_EXCEEDED", `You have ${maxUnfinished} unfinished tasks: wait for some.`, {
        retryAfterSeconds: retrySeconds,
      });
    }
  }
  return { taskId: task.task_id, status: task.status };
}
