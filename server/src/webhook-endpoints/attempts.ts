import { all, type Db } from "../lib/query.ts";
import type { EndpointKey } from "./endpoint.ts";

export interface WebhookAttempt {
  attempt_id: string;
  webhook_endpoint_id: string;
  webhook_delivery_id: string;
  event: string;
  number: number;
  status: "succeeded" | "failed";
  status_code: number | null;
  error: string | null;
  answer: string | null;
  started_at: Date;
  duration_ms: number;
  /** Of the newest attempt of what is still tried: when the next one is. */
  next_attempt_at: Date | null;
}

/** Newest first; one more than `limit`, when there are more. Takes the same time on every page. */
export function listAttempts(
  db: Db,
  { workspaceId, endpointId }: EndpointKey,
  page: { limit: number; after?: { at: Date; id: string } | undefined; status?: WebhookAttempt["status"] | undefined },
): Promise<WebhookAttempt[]> {
  return all(
    db,
    `SELECT a.attempt_id, a.webhook_endpoint_id, a.webhook_delivery_id, a.event, a.number, a.status, a.status_code,
       a.error, a.answer, a.started_at, a.duration_ms,
       CASE WHEN d.status = 'pending' AND d.attempts = a.number THEN d.next_attempt_at END AS next_attempt_at
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
