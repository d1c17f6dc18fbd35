import pg from "pg";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { isIdOf } from "../lib/partitions.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";
import { countedUntil, hourMs, hourOf } from "./count-hours.ts";

export interface Stats {
  since: Date;
  /** Messages and deliveries are counted up to here. */
  until: Date;
  messages: { channel: string | null; direction: string; count: number }[];
  deliveries: { channel: string; status: string; count: number }[];
  files: { count: number; bytes: number };
  tasks: { status: string; count: number }[];
  tokens: { hub_key: number; own_keys: number };
}

interface Counted {
  counted: "message" | "delivery";
  channel: string;
  state: string;
  count: number;
}

/** How long the database may count what is in no counted hour yet, in milliseconds. */
const recentLimitMs = 2_000;
/** The newest of these are counted; a workspace with more has counts of its newest ones. */
const maxTasks = 100_000;
const queryCanceled = "57014";

/**
 * Of a workspace since the start of the hour `periodMs` ago. Costs a few rows for each hour, and one for each message since
 * the last counted hour; when that takes too long, `until` is its end.
 */
export async function readStats(
  { pipelineDb, clock }: { pipelineDb: PipelineDb; clock: Clock },
  db: RequestDb,
  workspaceId: string,
  periodMs: number,
): Promise<Stats> {
  const now = clock.now();
  const since = hourOf(now - periodMs) + hourMs;
  const counted = (await countedUntil(pipelineDb))?.getTime() ?? 0;
  const recentFrom = new Date(Math.max(since, counted));
  const hours = await all<Counted>(
    db,
    `SELECT counted, channel, state, sum(count)::bigint AS count FROM hourly_counts
     WHERE workspace_id = $1 AND hour >= $2 GROUP BY counted, channel, state`,
    [workspaceId, new Date(since)],
  );
  const recent = await countRecent(db, workspaceId, recentFrom, new Date(now)).catch((error) => {
    if (error instanceof pg.DatabaseError && error.code === queryCanceled) return null;
    throw error;
  });
  const sums = sum([...hours, ...(recent ?? [])]);
  return {
    since: new Date(since),
    until: recent === null ? recentFrom : new Date(now),
    messages: sums
      .filter((sum) => sum.counted === "message")
      .map(({ channel, state, count }) => ({ channel: channel || null, direction: state, count })),
    deliveries: sums
      .filter((sum) => sum.counted === "delivery")
      .map(({ channel, state, count }) => ({ channel, status: state, count })),
    files: await countFiles(db, workspaceId),
    tasks: await countTasks(db, workspaceId, new Date(since)),
    tokens: await countTokens(db, workspaceId, new Date(since)),
  };
}

function countRecent(db: RequestDb, workspaceId: string, from: Date, now: Date): Promise<Counted[]> {
  return transaction(db, async (tx) => {
    await run(tx, "SELECT set_config('statement_timeout', $1, true)", [String(recentLimitMs)]);
    // The clocks of processes may differ a little.
    const until = new Date(now.getTime() + hourMs);
    return all<Counted>(
      tx,
      `SELECT 'delivery' AS counted, channel, status::text AS state, count(*) FROM deliveries
       WHERE workspace_id = $1 AND ${isIdOf("delivery_id", "$2::timestamptz", "$3::timestamptz")} GROUP BY channel, status
       UNION ALL
       SELECT 'message', coalesce(origin ->> 'channel', ''), direction, count(*) FROM messages
       WHERE workspace_id = $1 AND created_at >= $2 GROUP BY 2, direction`,
      [workspaceId, from, until],
    );
  });
}

function sum(counts: readonly Counted[]): Counted[] {
  const sums = new Map<string, Counted>();
  for (const counted of counts) {
    const key = `${counted.counted} ${counted.channel} ${counted.state}`;
    sums.set(key, { ...counted, count: counted.count + (sums.get(key)?.count ?? 0) });
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, counted]) => counted);
}

async function countFiles(db: Db, workspaceId: string): Promise<Stats["files"]> {
  const usage = await maybe<{ files: number; bytes: number }>(
    db,
    "SELECT files, bytes FROM file_usage WHERE workspace_id = $1",
    [workspaceId],
  );
  return { count: usage?.files ?? 0, bytes: usage?.bytes ?? 0 };
}

function countTokens(db: Db, workspaceId: string, since: Date): Promise<Stats["tokens"]> {
  return one(
    db,
    `SELECT coalesce(sum(tokens), 0)::bigint AS hub_key, coalesce(sum(own_key_tokens), 0)::bigint AS own_keys
     FROM llm_usage WHERE workspace_id = $1 AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date`,
    [workspaceId, since],
  );
}

function countTasks(db: Db, workspaceId: string, since: Date): Promise<Stats["tasks"]> {
  return all(
    db,
    `SELECT status, count(*) FROM (
       SELECT status FROM tasks WHERE workspace_id = $1 AND created_at >= $2
       ORDER BY created_at DESC, task_id DESC LIMIT ${maxTasks}) t
     GROUP BY status ORDER BY status`,
    [workspaceId, since],
  );
}
