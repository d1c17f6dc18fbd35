import type { SendOutcome } from "../../connectors/connector.ts";
import { publishedColumns, publishStatuses } from "../../events/events.ts";
import { type Column, columnValues, rowsOf } from "../../lib/columns.ts";
import { queryEarly } from "../../lib/early-commit.ts";
import { toStorable } from "../../lib/json.ts";
import type { Pool } from "../../lib/postgres.ts";
import { joinTexts, plainArray, splitTexts } from "../../lib/query.ts";
import type { SendResult } from "./send-delivery.ts";
import type { StartedDelivery } from "./start-attempts.ts";

export interface FinishedAttempt
  extends Pick<
      StartedDelivery,
      "workspaceId" | "deliveryId" | "channelAccountId" | "messageId" | "attempt" | "startedAt"
    >,
    Omit<SendResult, "outcome"> {
  finishedAt: Date;
  outcome: SendOutcome["kind"];
  error: { code: string; message: string } | null;
  /** True for `sent` and for a dead letter. */
  isFinal: boolean;
  /** Time to the next attempt from this write; null without one, or when it is due at once. */
  retryAfterMs: number | null;
}

interface Overtaken {
  settled: Set<string>;
  /** Parts with waiting receipts, see `early_receipts`. */
  early: Part[];
}

interface Part {
  channelAccountId: string;
  providerMessageId: string;
}

/**
 * Safe to call twice with the same batch id, and after a receipt: a status only moves forward. Attempts that sent their
 * delivery are stored as one row for each workspace, the others one by one.
 */
export async function finishAttempts(
  db: Pool,
  unordered: readonly FinishedAttempt[],
  batchId: string,
): Promise<Overtaken> {
  // Locks deliveries in the order of their ids, as receipts do, to avoid deadlocks.
  const finished = unordered.toSorted((a, b) => (a.deliveryId < b.deliveryId ? -1 : 1));
  const sent = finished.filter(({ outcome }) => outcome === "sent");
  const batches = Map.groupBy(sent, ({ workspaceId }) => workspaceId);
  // Without any, one row of nulls.
  const { rows } = await queryEarly<Part & { settled: string | null }>(db, {
    ...(sent.length === finished.length ? ordinary : general),
    values: [
      ...columnValues(columns, finished),
      batchId,
      plainArray([...batches.keys()]),
      joinTexts([...batches.values()].map(toBatch)),
    ],
  });
  return {
    settled: new Set(rows.flatMap((row) => row.settled ?? [])),
    early: rows.filter((row) => row.providerMessageId !== null),
  };
}

function toBatch(attempts: readonly FinishedAttempt[]): string {
  const entries = attempts.map(({ deliveryId, attempt, startedAt, finishedAt, exchanges }) => ({
    delivery_id: deliveryId,
    number: attempt,
    started_at: startedAt,
    finished_at: finishedAt,
    exchanges: exchanges.length === 0 ? null : exchanges,
  }));
  return toStorable(JSON.stringify(entries));
}

const columns: readonly Column<FinishedAttempt>[] = [
  ["delivery_id", "uuid", ({ deliveryId }) => deliveryId],
  ["channel_account_id", "uuid", ({ channelAccountId }) => channelAccountId],
  ["message_id", "uuid", ({ messageId }) => messageId],
  ["number", "int", ({ attempt }) => attempt],
  ["started_at", "timestamptz", ({ startedAt }) => startedAt.toISOString()],
  ["finished_at", "timestamptz", ({ finishedAt }) => finishedAt.toISOString()],
  ["outcome", "text", ({ outcome }) => outcome],
  [
    "exchanges",
    "text",
    ({ outcome, exchanges }) => (outcome === "sent" || exchanges.length === 0 ? null : toJson(exchanges)),
  ],
  ["part_ids", "text", ({ sentParts }) => `{${sentParts.map((id) => `"${id.replace(/["\\]/g, "\\$&")}"`).join()}}`],
  ["part_count", "int", ({ partCount }) => partCount],
  ["error", "jsonb", ({ error }) => error && toJson(error)],
  ["is_final", "boolean", ({ isFinal }) => isFinal],
  ["retry_after_ms", "float8", ({ retryAfterMs }) => retryAfterMs],
];

const toJson = (value: object) => toStorable(JSON.stringify(value));

// Only where an attempt was not sent: PostgreSQL prepares every expression of a statement for each execution. The first
// record of an attempt holds: one that a new owner gave up stays unknown. The update joins on the number of the attempt:
// the outcome of one that was given up is too late for the schedule.
const notSent = `, logged AS (
  INSERT INTO attempts (delivery_id, number, started_at, finished_at, outcome, exchanges, error)
  SELECT delivery_id, number, started_at, finished_at, outcome, exchanges::json, error FROM input WHERE outcome <> 'sent'
  ON CONFLICT DO NOTHING
  RETURNING number
), others AS (
  UPDATE deliveries d SET
    status = CASE WHEN d.status < 'sent' AND i.is_final THEN 'failed' ELSE d.status END,
    status_before = d.status,
    is_pending = d.status < 'sent' AND NOT i.is_final,
    is_dead_letter = d.is_dead_letter OR d.status < 'sent' AND i.is_final,
    failed_at = CASE WHEN d.status < 'sent' AND i.is_final THEN i.finished_at ELSE d.failed_at END,
    attempt_started_at = NULL,
    next_attempt_at = CASE WHEN d.status < 'sent' THEN now() + i.retry_after_ms * interval '1 millisecond' END,
    provider_message_ids = CASE WHEN d.status < 'sent' THEN i.sent_parts ELSE d.provider_message_ids END,
    part_count = i.part_count,
    error = CASE WHEN d.status < 'sent' THEN i.error ELSE d.error END,
    started_at = CASE WHEN d.status < 'sent' AND i.is_final THEN NULL ELSE d.started_at END,
    history = CASE WHEN d.status < 'sent' AND i.is_final
      THEN delivery_history(d) || jsonb_build_object('status', 'failed', 'at', i.finished_at, 'cause', i.error ->> 'code')
      ELSE d.history END
  FROM input i
  WHERE d.delivery_id = i.delivery_id AND i.outcome <> 'sent' AND d.is_pending AND d.attempts = i.number
  RETURNING ${publishedColumns}, d.is_pending, i.is_final
)`;

const statementOf = (name: string, isGeneral: boolean) => ({
  name,
  text: `
WITH input AS MATERIALIZED (
  SELECT *, part_ids::text[] AS sent_parts FROM ${rowsOf(columns)}
), batches AS (
  INSERT INTO attempt_batches (batch_id, workspace_id, attempts)
  SELECT $14, workspace_id, attempts::json FROM unnest($15::uuid[], ${splitTexts("$16")}) AS b (workspace_id, attempts)
  ON CONFLICT DO NOTHING
  RETURNING batch_id
), named AS (
  INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
  SELECT channel_account_id, part, delivery_id, message_id FROM input, unnest(sent_parts) AS part
  ON CONFLICT DO NOTHING
  RETURNING message_id
), sent AS (
  -- What was sent was sent, also by an attempt that another owner has given up. A receipt's status stays. Of a message
  -- that was sent twice, the copy whose id is known first counts: its receipts were applied, and those to come will be.
  UPDATE deliveries d SET
    status = greatest(d.status, 'sent'),
    status_before = d.status,
    is_pending = false,
    attempt_started_at = NULL,
    next_attempt_at = NULL,
    provider_message_ids = CASE WHEN cardinality(d.provider_message_ids) >= i.part_count THEN d.provider_message_ids
      ELSE i.sent_parts END,
    part_count = i.part_count,
    error = CASE WHEN d.status = 'failed' THEN d.error END,
    sent_at = coalesce(d.sent_at, i.finished_at),
    sent_by = $14::uuid
  FROM input i
  WHERE d.delivery_id = i.delivery_id AND i.outcome = 'sent'
  RETURNING ${publishedColumns}
)${isGeneral ? notSent : ""}, result AS MATERIALIZED (
  SELECT NULL::uuid AS settled, e.channel_account_id AS "channelAccountId", e.provider_message_id AS "providerMessageId"
  FROM input i CROSS JOIN unnest(i.sent_parts) AS part
  JOIN early_receipts e ON e.channel_account_id = i.channel_account_id AND e.provider_message_id = part
  ${isGeneral ? "UNION ALL SELECT delivery_id, NULL, NULL FROM others WHERE NOT is_pending AND NOT is_final" : ""}
), published AS MATERIALIZED (
  ${publishStatuses({
    from: isGeneral ? `(SELECT * FROM sent UNION ALL SELECT ${publishedColumns} FROM others d) d` : "sent d",
    where: "d.status <> d.status_before",
    after: ["batches", ...(isGeneral ? ["logged"] : []), "named", "result"],
    commitsEarly: true,
  })}
)
SELECT r.* FROM published LEFT JOIN result r ON true`,
});

const ordinary = statementOf("finish_sent_attempts", false);
const general = statementOf("finish_attempts", true);
