import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { type PoolClient, transaction } from "../lib/postgres.ts";
import { all, type Db, run } from "../lib/query.ts";
import type { Task, TaskEnd, TaskError, TaskOptions } from "./task.ts";

/** A task that only this process runs, as long as it renews its lease. */
export interface ClaimedTask extends Task {
  kind: string;
  createdAt: Date;
  /** Runs that ended with their process. */
  crashes: number;
  /** Runs that had to wait. */
  waits: number;
}

interface ClaimInput {
  ownerId: string;
  now: Date;
  leaseMs: number;
  /** Other kinds are left to other runners, and to newer processes. */
  kinds: readonly string[];
  limit: number;
  /** The most running tasks of these kinds of a user, or of a workspace's own work, in all processes. */
  perUser: number;
}

/** SQL: locks tasks in the order of their ids, as every statement that may wait, to avoid deadlocks. */
function inLockOrder(condition: string): string {
  return `SELECT task_id FROM tasks WHERE ${condition} ORDER BY task_id FOR UPDATE`;
}

/** SQL: owned by a process that has ended. No lease is longer than `leaseMs` from now, else the database's clock was set back. */
const isAbandoned = (leaseMs: string) =>
  `status = 'running' AND (leased_until < now() OR leased_until > now() + ${leaseMs} * interval '1 millisecond')`;

/**
 * Claims due tasks: first of the users with the fewest running, then the oldest. Processes claim one after the other, so
 * that `perUser` holds for all of them together.
 */
export function claimDue(db: PipelineDb, input: ClaimInput): Promise<ClaimedTask[]> {
  const { ownerId, now, leaseMs, kinds, limit, perUser } = input;
  return transaction(db, async (tx) => {
    await run(tx, "SELECT pg_advisory_xact_lock(hashtext('claim tasks'))");
    const rows = await all<ClaimedRow>(
      tx,
      // The distinct queues with pending tasks, each found by one look-up.
      `WITH RECURSIVE queues AS (
         (SELECT queue_id FROM tasks WHERE status = 'pending' ORDER BY queue_id LIMIT 1)
         UNION ALL
         SELECT (SELECT t.queue_id FROM tasks t WHERE t.status = 'pending' AND t.queue_id > q.queue_id
                 ORDER BY t.queue_id LIMIT 1)
         FROM queues q WHERE q.queue_id IS NOT NULL
       ), chosen AS MATERIALIZED (
         SELECT due.task_id FROM queues q CROSS JOIN LATERAL (
           SELECT next.task_id, next.run_at, row_number() OVER (ORDER BY next.run_at, next.task_id)
             + (SELECT count(*) FROM tasks r WHERE r.queue_id = q.queue_id AND r.status = 'running' AND r.kind = ANY ($2)) AS place
           FROM (
             SELECT t.task_id, t.run_at FROM tasks t
             WHERE t.queue_id = q.queue_id AND t.status = 'pending' AND t.run_at <= $1 AND t.kind = ANY ($2)
             ORDER BY t.run_at, t.task_id LIMIT $3
           ) next
         ) due WHERE due.place <= $3 ORDER BY due.place, due.run_at, due.task_id LIMIT $4
       )
       UPDATE tasks SET status = 'running', owner_id = $5, leased_until = now() + $6 * interval '1 millisecond', error = NULL,
         started_at = coalesce(started_at, $1)
       WHERE status = 'pending' AND task_id IN (
         ${inLockOrder("task_id IN (SELECT task_id FROM chosen) AND status = 'pending'")})
       RETURNING task_id, workspace_id, user_id, kind, file_id, options, created_at, crashes, waits`,
      [now, kinds, perUser, limit, ownerId, leaseMs],
    );
    return rows.map(toClaimed);
  });
}

interface ClaimedRow {
  task_id: string;
  workspace_id: string;
  user_id: string | null;
  kind: string;
  file_id: string | null;
  options: TaskOptions;
  created_at: Date;
  crashes: number;
  waits: number;
}

function toClaimed(row: ClaimedRow): ClaimedTask {
  const { task_id: taskId, workspace_id: workspaceId, user_id: userId, file_id: fileId, created_at: createdAt } = row;
  const { kind, options, crashes, waits } = row;
  return { taskId, workspaceId, userId, fileId, kind, options, createdAt, crashes, waits };
}

/** Renews the leases of a process and stores progress, in percent. Returns the tasks that are still its own. */
export async function renewLeases(
  db: Db,
  { ownerId, leaseMs }: Pick<ClaimInput, "ownerId" | "leaseMs">,
  progress: ReadonlyMap<string, number>,
): Promise<{ taskId: string; workspaceId: string; hasMoved: boolean }[]> {
  const rows = await all<{ task_id: string; workspace_id: string; has_moved: boolean }>(
    db,
    `WITH own AS MATERIALIZED (
       SELECT t.task_id, t.progress AS before, u.progress AS reached
       FROM unnest($2::uuid[], $3::smallint[]) AS u (task_id, progress) JOIN tasks t USING (task_id)
       WHERE t.owner_id = $1 AND t.status = 'running' ORDER BY t.task_id FOR UPDATE OF t
     )
     UPDATE tasks t SET leased_until = now() + $4 * interval '1 millisecond', progress = greatest(own.before, own.reached)
     FROM own WHERE t.task_id = own.task_id
     RETURNING t.task_id, t.workspace_id, own.reached > own.before AS has_moved`,
    [ownerId, [...progress.keys()], [...progress.values()], leaseMs],
  );
  return rows.map((row) => ({ taskId: row.task_id, workspaceId: row.workspace_id, hasMoved: row.has_moved }));
}

/** What became of tasks, for notifications. */
export interface ChangedTask {
  task_id: string;
  workspace_id: string;
}

/** Tasks of ended processes are pending again, and count one crash more. */
export function freeAbandoned(db: Db, leaseMs: number): Promise<ChangedTask[]> {
  return all(
    db,
    `UPDATE tasks SET status = 'pending', owner_id = NULL, leased_until = NULL, crashes = crashes + 1
     WHERE task_id IN (${inLockOrder(isAbandoned("$1"))}) RETURNING task_id, workspace_id`,
    [leaseMs],
  );
}

/** Gives back all tasks of a process that stops; that counts as no crash. */
export function giveBack(db: Db, ownerId: string): Promise<ChangedTask[]> {
  return all(
    db,
    `UPDATE tasks SET status = 'pending', owner_id = NULL, leased_until = NULL
     WHERE task_id IN (${inLockOrder("owner_id = $1 AND status = 'running'")}) RETURNING task_id, workspace_id`,
    [ownerId],
  );
}

/** False when the task is not the process's own any more: it was cancelled, or another process runs it. */
export async function putOff(
  db: Db,
  { taskId, ownerId }: { taskId: string; ownerId: string },
  { error, runAt }: { error: TaskError; runAt: Date },
): Promise<boolean> {
  const changed = await run(
    db,
    `UPDATE tasks SET status = 'pending', owner_id = NULL, leased_until = NULL, waits = waits + 1, error = $3, run_at = $4
     WHERE task_id = $1 AND owner_id = $2 AND status = 'running'`,
    [taskId, ownerId, JSON.stringify(error), runAt],
  );
  return changed === 1;
}

/** As `putOff`. `before` runs in the same transaction, before the task ends; the task is locked. */
export function endTask(
  db: PipelineDb,
  { taskId, ownerId, now }: { taskId: string; ownerId: string; now: Date },
  end: TaskEnd,
  before: (tx: PoolClient) => Promise<void> = async () => {},
): Promise<boolean> {
  const result = end.status === "completed" ? JSON.stringify(end.result) : null;
  const error = end.status === "failed" ? JSON.stringify(end.error) : null;
  return transaction(db, async (tx) => {
    const own = await all(
      tx,
      "SELECT FROM tasks WHERE task_id = $1 AND owner_id = $2 AND status = 'running' FOR UPDATE",
      [taskId, ownerId],
    );
    if (own.length === 0) return false;
    await before(tx);
    await run(
      tx,
      // What was read of a file that was deleted meanwhile is not kept.
      `UPDATE tasks SET status = $2, error = $4,
         result = CASE WHEN (SELECT f.status FROM files f WHERE f.file_id = tasks.file_id) IS DISTINCT FROM 'deleted' THEN $3::json END,
         finished_at = $5, owner_id = NULL, leased_until = NULL,
         progress = CASE WHEN $2 = 'completed' THEN 100 ELSE progress END
       WHERE task_id = $1`,
      [taskId, end.status, result, error, now],
    );
    return true;
  });
}

/** With their results, which hold what the files said. Before the bytes of the files are removed. */
export function deleteTasksOfDeletedFiles({ db }: { db: PipelineDb }): Promise<number> {
  return run(
    db,
    `DELETE FROM tasks WHERE finished_at IS NOT NULL AND file_id = ANY (ARRAY(
       SELECT file_id FROM files WHERE status = 'deleted' AND object_left))`,
    [],
  );
}

const deletePage = 1_000;

/** Tasks that ended longer than `retentionMs` ago, with their results. Returns how many. */
export async function deleteOldTasks(
  { db, clock }: { db: PipelineDb; clock: Clock },
  retentionMs: number,
): Promise<number> {
  for (let deleted = 0; ; ) {
    const count = await run(
      db,
      `DELETE FROM tasks WHERE task_id = ANY (ARRAY(
         SELECT task_id FROM tasks WHERE finished_at < $1 ORDER BY finished_at LIMIT ${deletePage} FOR UPDATE SKIP LOCKED))`,
      [new Date(clock.now() - retentionMs)],
    );
    deleted += count;
    if (count < deletePage) return deleted;
  }
}
