import { hasRole, type Principal } from "../credentials/credentials.ts";
import type { RequestDb } from "../database-roles.ts";
import { forbidden, RequestError } from "../errors.ts";
import { all, type Db, maybe } from "../lib/query.ts";
import type { TaskError, TaskOptions, TaskStatus } from "./task.ts";

export interface TaskRow {
  task_id: string;
  kind: string;
  status: TaskStatus;
  progress: number;
  user_id: string | null;
  file_id: string | null;
  options: TaskOptions;
  error: TaskError | null;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

const columns = `t.task_id, t.kind, t.status, t.progress, t.user_id, t.file_id, t.options, t.error, t.created_at,
  t.started_at, t.finished_at`;

/** Its user's, or any of the workspace for an admin. */
type Viewer = Pick<Principal, "workspaceId" | "userId" | "role">;

/** SQL: the caller sees the task `t`. Takes the parameters of `viewerOf`. */
const isSeen = "t.workspace_id = $1 AND ($2::uuid IS NULL OR t.user_id = $2)";

function viewerOf({ workspaceId, userId, role }: Viewer): [workspaceId: string, userId: string | null] {
  return [workspaceId, hasRole({ role }, "admin") ? null : userId];
}

/** TASK_NOT_FOUND. */
export async function findTask(db: Db, viewer: Viewer, taskId: string): Promise<TaskRow & { resultBytes: number }> {
  const row = await maybe<TaskRow & { resultBytes: number }>(
    db,
    `SELECT ${columns}, coalesce(octet_length(t.result::text), 0) AS "resultBytes" FROM tasks t
     WHERE ${isSeen} AND t.task_id = $3`,
    [...viewerOf(viewer), taskId],
  );
  if (row === null) throw taskNotFound();
  return row;
}

/** As JSON; null when there is none. Up to about 16 MiB, and more where characters are escaped. */
export async function readResult(db: Db, taskId: string): Promise<string | null> {
  const row = await maybe<{ result: string | null }>(
    db,
    "SELECT result::text AS result FROM tasks WHERE task_id = $1",
    [taskId],
  );
  return row?.result ?? null;
}

/** Whether the caller sees a task of its workspace. */
export function mayWatch(viewer: Viewer, { user_id }: Pick<TaskRow, "user_id">): boolean {
  const [, userId] = viewerOf(viewer);
  return userId === null || userId === user_id;
}

/** Those of `taskIds` that are there, without a check of who may see them. */
export function readTasks(db: Db, taskIds: readonly string[]): Promise<TaskRow[]> {
  return all(db, `SELECT ${columns} FROM tasks t WHERE t.task_id = ANY ($1)`, [taskIds]);
}

/** Newest first. */
export function listTasks(
  db: RequestDb,
  viewer: Viewer,
  filters: {
    limit: number;
    after?: { at: Date; id: string } | undefined;
    status?: TaskStatus | undefined;
    kind?: string | undefined;
    fileId?: string | undefined;
  },
): Promise<TaskRow[]> {
  const { limit, after, status = null, kind = null, fileId = null } = filters;
  const [workspaceId, userId] = viewerOf(viewer);
  // As conditions that are there or not, so that the user and the file choose the index.
  const conditions = [
    "t.workspace_id = $1",
    userId === null ? "$2::uuid IS NULL" : "t.user_id = $2",
    fileId === null ? "$3::uuid IS NULL" : "t.file_id = $3",
    "($4::text IS NULL OR t.status = $4)",
    "($5::text IS NULL OR t.kind = $5)",
    "($6::timestamptz IS NULL OR (t.created_at, t.task_id) < ($6, $7))",
  ];
  return all(
    db,
    `SELECT ${columns} FROM tasks t WHERE ${conditions.join(" AND ")}
     ORDER BY t.created_at DESC, t.task_id DESC LIMIT $8`,
    [workspaceId, userId, fileId, status, kind, after?.at ?? null, after?.id ?? null, limit],
  );
}

/**
 * TASK_NOT_FOUND, and TASK_ALREADY_COMPLETED when it has ended. FORBIDDEN for the hub's own work. Cancelling again changes
 * nothing. Call `notifier.due()` afterwards, which ends a run of it.
 */
export async function cancelTask(db: RequestDb, viewer: Viewer, taskId: string, now: Date): Promise<TaskRow> {
  const cancelled = await maybe<TaskRow>(
    db,
    `UPDATE tasks t SET status = 'cancelled', error = NULL, finished_at = $4, owner_id = NULL, leased_until = NULL
     WHERE ${isSeen} AND t.task_id = $3 AND t.status IN ('pending', 'running') AND t.user_id IS NOT NULL
     RETURNING ${columns}`,
    [...viewerOf(viewer), taskId, now],
  );
  if (cancelled !== null) return cancelled;
  const task = await findTask(db, viewer, taskId);
  if (task.status === "cancelled") return task;
  if (task.user_id === null) throw forbidden("This is the hub's own work: it cannot be cancelled.");
  throw new RequestError("TASK_ALREADY_COMPLETED", `This task is ${task.status}: there is nothing to cancel.`, {
    details: { status: task.status },
  });
}

export function taskNotFound(): RequestError {
  return new RequestError("TASK_NOT_FOUND", "There is no such task in this workspace.");
}

/** As the API shows it. */
export function showTask({ kind: task_type, created_at, started_at, finished_at, ...task }: TaskRow) {
  return {
    task_id: task.task_id,
    task_type,
    status: task.status,
    progress: task.progress,
    user_id: task.user_id,
    file_id: task.file_id,
    options: task.options,
    error: task.error,
    created_at: created_at.toISOString(),
    started_at: started_at?.toISOString() ?? null,
    finished_at: finished_at?.toISOString() ?? null,
  };
}
