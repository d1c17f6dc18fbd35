import type { WebhookAttempt } from "../../../contract/src/webhook-endpoints.ts";
import type { PipelineDb } from "../database-roles.ts";
import { newId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import { all, type Db, isoTime, plainArray, run } from "../lib/query.ts";
import { inLockOrder } from "./claims.ts";
import type { EndpointKey } from "./endpoint-rows.ts";
import { maxAskedMs } from "./schedule.ts";
import type { Outcome } from "./send.ts";

export function listAttempts(
  db: Db,
  { workspaceId, endpointId }: EndpointKey,
  page: { limit: number; after?: { at: Date; id: string } | undefined; status?: WebhookAttempt["status"] | undefined },
): Promise<WebhookAttempt[]> {
  return all(
    db,
    `SELECT a.attempt_id, a.webhook_endpoint_id, a.webhook_delivery_id AS webhook_id, a.event, a.number, a.status,
       a.status_code, a.error, a.answer, ${isoTime("a.started_at")} AS started_at, a.duration_ms,
       CASE WHEN d.status = 'pending' AND d.attempts = a.number THEN ${isoTime("d.next_attempt_at")} END AS next_attempt_at
     FROM (
       SELECT * FROM webhook_attempts
       WHERE workspace_id = $1 AND webhook_endpoint_id = $2 AND (started_at, attempt_id) < ($3::timestamptz, $4::uuid)
         ${page.status === undefined ? "" : only[page.status]}
       ORDER BY started_at DESC, attempt_id DESC LIMIT $5
     ) a LEFT JOIN webhook_deliveries d USING (webhook_delivery_id)
     ORDER BY a.started_at DESC, a.attempt_id DESC`,
    [workspaceId, endpointId, page.after?.at ?? "infinity", page.after?.id ?? lastId, page.limit + 1],
  );
}

/** Written out, so that the planner knows the index of failures. */
const only = { succeeded: "AND status = 'succeeded'", failed: "AND status = 'failed'" };

const lastId = "ffffffff-ffff-ffff-ffff-ffffffffffff";

export interface Finished {
  deliveryId: string;
  workspaceId: string;
  endpointId: string;
  event: string;
  number: number;
  outcome: Outcome;
  retryAt: Date | null;
}

interface Verdict {
  workspaceId: string;
  endpointId: string;
  failingSince: Date;
}

/**
 * Writes the outcomes of attempts and gives up the claims. A delivery that another process has taken over meanwhile is
 * left to it; the attempt is still recorded. Returns the endpoints that failed, and since when they have.
 */
export function finishAttempts(db: PipelineDb, ownerId: string, finished: readonly Finished[]): Promise<Verdict[]> {
  return transaction(db, async (tx) => {
    await insertAttempts(tx, finished);
    await run(
      tx,
      `WITH results AS MATERIALIZED (
         SELECT * FROM unnest($2::uuid[], $3::boolean[], $4::timestamptz[]) AS r (id, is_success, at)
       ), held AS MATERIALIZED (
         ${inLockOrder("webhook_delivery_id IN (SELECT id FROM results) AND owner_id = $1")}
       )
       UPDATE webhook_deliveries d SET owner_id = NULL, attempts = d.attempts + 1, next_attempt_at = coalesce(r.at, d.next_attempt_at),
         status = CASE WHEN r.is_success THEN 'succeeded' WHEN r.at IS NULL THEN 'failed' ELSE 'pending' END
       FROM held JOIN results r ON r.id = held.webhook_delivery_id
       WHERE d.webhook_delivery_id = r.id`,
      [
        ownerId,
        finished.map(({ deliveryId }) => deliveryId),
        finished.map(({ outcome }) => outcome.isSuccess),
        finished.map(({ retryAt }) => retryAt),
      ],
    );
    return noteHealth(tx, finished);
  });
}

export async function insertAttempts(db: Db, finished: readonly Finished[]): Promise<string[]> {
  const ids = finished.map(({ outcome }) => newId(outcome.startedAt.getTime()));
  const of = <T>(pick: (attempt: Finished) => T) => finished.map(pick);
  await run(
    db,
    `INSERT INTO webhook_attempts (attempt_id, workspace_id, webhook_endpoint_id, webhook_delivery_id, event, number,
       status, status_code, error, answer, started_at, duration_ms)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::integer[], $7::text[],
       $8::integer[], $9::text[], $10::text[], $11::timestamptz[], $12::integer[])`,
    [
      plainArray(ids),
      of(({ workspaceId }) => workspaceId),
      of(({ endpointId }) => endpointId),
      of(({ deliveryId }) => deliveryId),
      of(({ event }) => event),
      of(({ number }) => number),
      of(({ outcome }) => (outcome.isSuccess ? "succeeded" : "failed")),
      of(({ outcome }) => outcome.statusCode),
      of(({ outcome }) => outcome.error),
      of(({ outcome }) => outcome.answer),
      of(({ outcome }) => outcome.startedAt),
      of(({ outcome }) => outcome.durationMs),
    ],
  );
  return ids;
}

const pauseStatuses = new Set([429, 503]);

/** A success ends a period of failure. A pause is granted. Locks in the order of ids, to avoid deadlocks. */
export async function noteHealth(
  db: Db,
  finished: readonly Pick<Finished, "endpointId" | "outcome">[],
): Promise<Verdict[]> {
  const results = [...Map.groupBy(finished, ({ endpointId }) => endpointId)].map(([endpointId, attempts]) => {
    const pauses = attempts.flatMap(({ outcome: { statusCode, askedMs, startedAt, durationMs } }) =>
      askedMs !== null && pauseStatuses.has(statusCode ?? 0)
        ? [startedAt.getTime() + durationMs + Math.min(askedMs, maxAskedMs)]
        : [],
    );
    return {
      endpointId,
      isSuccess: attempts.some(({ outcome }) => outcome.isSuccess),
      failedAt: attempts[0]!.outcome.startedAt,
      pausedUntil: pauses.length === 0 ? null : new Date(Math.max(...pauses)),
    };
  });
  const rows = await all<Verdict & { isSuccess: boolean }>(
    db,
    `WITH results AS MATERIALIZED (
       SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::timestamptz[], $4::timestamptz[])
         AS t (id, is_success, failed_at, until)
     ), held AS MATERIALIZED (
       SELECT webhook_endpoint_id FROM webhook_endpoints e JOIN results ON id = webhook_endpoint_id
       WHERE NOT is_success OR failing_since IS NOT NULL OR until IS NOT NULL
       ORDER BY webhook_endpoint_id FOR UPDATE OF e
     )
     UPDATE webhook_endpoints e SET rests_until = greatest(rests_until, until),
       failing_since = CASE WHEN is_success THEN NULL ELSE coalesce(failing_since, failed_at) END
     FROM held JOIN results ON id = webhook_endpoint_id
     WHERE e.webhook_endpoint_id = held.webhook_endpoint_id
     RETURNING workspace_id AS "workspaceId", id AS "endpointId", failing_since AS "failingSince",
       is_success AS "isSuccess"`,
    [
      results.map(({ endpointId }) => endpointId),
      results.map(({ isSuccess }) => isSuccess),
      results.map(({ failedAt }) => failedAt),
      results.map(({ pausedUntil }) => pausedUntil),
    ],
  );
  return rows.filter((row) => !row.isSuccess);
}
