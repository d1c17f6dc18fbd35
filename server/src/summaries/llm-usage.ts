import type { PipelineDb } from "../database-roles.ts";
import type { Clock } from "../lib/clock.ts";
import { maybe, run } from "../lib/query.ts";

/** The tokens of one user on one day, in UTC. */
export interface UsageDay {
  workspaceId: string;
  userId: string;
  /** As in `2026-12-31`. */
  day: string;
}

/**
 * Counts a request and its tokens before it is made, so that requests at once cannot exceed the limit together. Returns
 * false, and counts nothing, when the day's tokens would be more than `limit`.
 */
export async function reserveTokens(
  db: PipelineDb,
  day: UsageDay,
  tokens: number,
  limit: number | null,
): Promise<boolean> {
  const row = await maybe(
    db,
    `INSERT INTO llm_usage AS u (workspace_id, user_id, day, requests, tokens)
     SELECT $1, $2, $3, 1, $4 WHERE $5::bigint IS NULL OR $4 <= $5
     ON CONFLICT (workspace_id, user_id, day) DO UPDATE SET requests = u.requests + 1, tokens = u.tokens + excluded.tokens
       WHERE $5::bigint IS NULL OR u.tokens + excluded.tokens <= $5
     RETURNING tokens`,
    [day.workspaceId, day.userId, day.day, tokens, limit],
  );
  return row !== null;
}

/** Replaces what was reserved by what was used. */
export async function settleTokens(db: PipelineDb, day: UsageDay, reserved: number, used: number): Promise<void> {
  await run(
    db,
    `UPDATE llm_usage SET tokens = greatest(0, tokens + $4)
     WHERE workspace_id = $1 AND user_id = $2 AND day = $3`,
    [day.workspaceId, day.userId, day.day, used - reserved],
  );
}

/** Counts a request with a user's own key, which has no limit of the hub. */
export async function countOwnTokens(db: PipelineDb, day: UsageDay, tokens: number): Promise<void> {
  await run(
    db,
    `INSERT INTO llm_usage AS u (workspace_id, user_id, day, requests, own_key_tokens) VALUES ($1, $2, $3, 1, $4)
     ON CONFLICT (workspace_id, user_id, day)
     DO UPDATE SET requests = u.requests + 1, own_key_tokens = u.own_key_tokens + excluded.own_key_tokens`,
    [day.workspaceId, day.userId, day.day, tokens],
  );
}

export async function usedTokens(db: PipelineDb, day: UsageDay): Promise<number> {
  const row = await maybe<{ tokens: string }>(
    db,
    "SELECT tokens FROM llm_usage WHERE workspace_id = $1 AND user_id = $2 AND day = $3",
    [day.workspaceId, day.userId, day.day],
  );
  return Number(row?.tokens ?? 0);
}

/** For maintenance: days that no statistics show any more. */
export async function deleteOldLlmUsage({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<void> {
  await run(db, "DELETE FROM llm_usage WHERE day < ($1::timestamptz AT TIME ZONE 'UTC')::date", [
    new Date(clock.now() - keptDays * dayMs),
  ]);
}

const keptDays = 400;
const dayMs = 86_400_000;

export function dayOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** The first moment of the next day, in UTC. */
export function nextDay(time: number): number {
  return (Math.floor(time / dayMs) + 1) * dayMs;
}
