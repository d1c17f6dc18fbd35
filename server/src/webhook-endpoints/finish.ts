import { newId } from "../lib/ids.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import { all, type Db, plainArray, run } from "../lib/query.ts";
import { inLockOrder } from "./claims.ts";
import { maxAskedMs } from "./schedule.ts";
import type { Outcome } from "./send.ts";

/** An attempt of a claimed delivery that is over. */
export interface Finished {
  deliveryId: string;
  workspaceId: string;
  endpointId: string;
  event: string;
  number: number;
  outcome: Outcome;
  /** When it is tried again; null when it was the last try, or succeeded. */
  retryAt: Date | null;
}

/** What follows for an endpoint. */
export interface Verdict {
  workspaceId: string;
  endpointId: string;
  failingSince: Date;
}

/**
 * Writes down what came of attempts, and lets the deliveries go; those that were given to another process meanwhile are
 * that one's, but their attempts are kept. Returns the endpoints that failed, with the time since when nothing else
 * happened.
 */
export function finishAttempts(db: Pool, ownerId: string, finished: readonly Finished[]): Promise<Verdict[]> {
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

/** An id for each is made here. Returns them in the same order. */
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

/** Answers by which an endpoint speaks for all that is sent to it, and not for one event. */
const restStatuses = new Set([429, 503]);

/**
 * A success ends a time of failure, and a failure may begin one; an endpoint that asked for it is left alone. Locks in
 * the order of ids, so that no two of us wait for each other.
 */
export async function noteHealth(
  db: Db,
  finished: readonly Pick<Finished, "endpointId" | "outcome">[],
): Promise<Verdict[]> {
  const told = [...Map.groupBy(finished, ({ endpointId }) => endpointId)].map(([endpointId, attempts]) => {
    const rests = attempts.flatMap(({ outcome: { statusCode, askedMs, startedAt, durationMs } }) =>
      askedMs !== null && restStatuses.has(statusCode ?? 0)
        ? [startedAt.getTime() + durationMs + Math.min(askedMs, maxAskedMs)]
        : [],
    );
    return {
      endpointId,
      isSuccess: attempts.some(({ outcome }) => outcome.isSuccess),
      failedAt: attempts[0]!.outcome.startedAt,
      restsUntil: rests.length === 0 ? null : new Date(Math.max(...rests)),
    };
  });
  const rows = await all<Verdict & { isSuccess: boolean }>(
    db,
    `WITH told AS MATERIALIZED (
       SELECT * FROM unnest($1::uuid[], $2::boolean[], $3::timestamptz[], $4::timestamptz[])
         AS t (id, is_success, failed_at, until)
     ), held AS MATERIALIZED (
       SELECT webhook_endpoint_id FROM webhook_endpoints e JOIN told ON id = webhook_endpoint_id
       WHERE NOT is_success OR failing_since IS NOT NULL OR until IS NOT NULL
       ORDER BY webhook_endpoint_id FOR UPDATE OF e
     )
     UPDATE webhook_endpoints e SET rests_until = greatest(rests_until, until),
       failing_since = CASE WHEN is_success THEN NULL ELSE coalesce(failing_since, failed_at) END
     FROM held JOIN told ON id = webhook_endpoint_id
     WHERE e.webhook_endpoint_id = held.webhook_endpoint_id
     RETURNING workspace_id AS "workspaceId", id AS "endpointId", failing_since AS "failingSince",
       is_success AS "isSuccess"`,
    [
      told.map(({ endpointId }) => endpointId),
      told.map(({ isSuccess }) => isSuccess),
      told.map(({ failedAt }) => failedAt),
      told.map(({ restsUntil }) => restsUntil),
    ],
  );
  return rows.filter((row) => !row.isSuccess);
}
