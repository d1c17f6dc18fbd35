import { type Db, run } from "../../lib/query.ts";
import type { StartedDelivery } from "./start-attempts.ts";

/** Takes back the start of an attempt that made no request: it does not count. Due after `waitMs`; `error` says why. */
export async function postponeAttempt(
  db: Db,
  { deliveryId, attempt }: Pick<StartedDelivery, "deliveryId" | "attempt">,
  error: { code: string; message: string },
  waitMs: number,
): Promise<void> {
  await run(
    db,
    `UPDATE deliveries SET attempts = attempts - 1, attempt_started_at = NULL, error = $3,
       retry_from = CASE WHEN attempts > 1 THEN retry_from END, next_attempt_at = now() + $4 * interval '1 millisecond'
     WHERE delivery_id = $1 AND attempts = $2 AND is_pending AND attempt_started_at IS NOT NULL`,
    [deliveryId, attempt, JSON.stringify(error), waitMs],
  );
}
