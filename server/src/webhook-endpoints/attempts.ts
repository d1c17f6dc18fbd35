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

/** Newest first; one more than `limit`, when there are more. */
export function listAttempts(
  db: Db,
  { workspaceId, endpointId }: EndpointKey,
  page: {
    limit: number;
    after?: { at: Date; id: string } | undefined;
    status?: string | undefined;
    event?: string | undefined;
  },
): Promise<WebhookAttempt[]> {
  return all(
    db,
    `SELECT ${columns} FROM webhook_attempts a LEFT JOIN webhook_deliveries d USING (webhook_delivery_id)
     WHERE a.workspace_id = $1 AND a.webhook_endpoint_id = $2 AND ($3::text IS NULL OR a.status = $3)
       AND ($4::text IS NULL OR a.event = $4)
       AND ($5::timestamptz IS NULL OR (a.started_at, a.attempt_id) < ($5, $6::uuid))
     ORDER BY a.started_at DESC, a.attempt_id DESC LIMIT $7`,
    [
      workspaceId,
      endpointId,
      page.status ?? null,
      page.event ?? null,
      page.after?.at ?? null,
      page.after?.id ?? null,
      page.limit + 1,
    ],
  );
}

const columns = `a.attempt_id, a.webhook_endpoint_id, a.webhook_delivery_id, a.event, a.number, a.status, a.status_code,
  a.error, a.answer, a.started_at, a.duration_ms,
  CASE WHEN d.status = 'pending' AND d.attempts = a.number THEN d.next_attempt_at END AS next_attempt_at`;
