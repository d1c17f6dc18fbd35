import type { Exchange, SendOutcome } from "../../connectors/connector.ts";
import { publishedColumns, publishStatuses } from "../../events/events.ts";
import { queryEarly } from "../../lib/early-commit.ts";
import { toStorable } from "../../lib/json.ts";
import type { Pool } from "../../lib/postgres.ts";
import { joinTexts, plainArray, splitTexts } from "../../lib/query.ts";

export interface FinishedAttempt {
  workspaceId: string;
  deliveryId: string;
  channelAccountId: string;
  messageId: string;
  attempt: number;
  startedAt: Date;
  finishedAt: Date;
  outcome: SendOutcome["kind"];
  exchanges: readonly Exchange[];
  /** Ids of all parts that this and earlier attempts have sent. */
  sentParts: readonly string[];
  partCount: number;
  error: { code: string; message: string } | null;
  /** True for `sent` and for a dead letter. */
  isFinal: boolean;
  /** Time to the next attempt from this write; null without one, or when it is due at once. */
  retryAfterMs: number | null;
}

interface Overtaken {
  settled: Set<string>;
  /** Parts with waiting receipts, see `early_receipts`. */
  early: { channelAccountId: string; providerMessageId: string }[];
}

/** Without any, one row of nulls. */
interface OvertakenRow {
  settled: string | null;
  channel_account_id: string | null;
  provider_message_id: string | null;
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
  const column = <Value>(of: (attempt: FinishedAttempt) => Value) => finished.map(of);
  const batches = Map.groupBy(
    finished.filter(({ outcome }) => outcome === "sent"),
    ({ workspaceId }) => workspaceId,
  );
  const areAllSent = finished.every(({ outcome }) => outcome === "sent");
  const { rows } = await queryEarly<OvertakenRow>(db, {
    ...(areAllSent ? ordinary : general),
    values: [
      plainArray(column(({ deliveryId }) => deliveryId)),
      plainArray(column(({ channelAccountId }) => channelAccountId)),
      plainArray(column(({ messageId }) => messageId)),
      plainArray(column(({ attempt }) => attempt)),
      plainArray(column(({ startedAt }) => startedAt.toISOString())),
      plainArray(column(({ finishedAt }) => finishedAt.toISOString())),
      plainArray(column(({ outcome }) => outcome)),
      column(({ outcome, exchanges }) =>
        outcome === "sent" || exchanges.length === 0 ? null : toStorable(JSON.stringify(exchanges)),
      ),
      column(({ sentParts }) => toArrayLiteral(sentParts)),
      plainArray(column(({ partCount }) => partCount)),
      column(({ error }) => (error === null ? null : toStorable(JSON.stringify(error)))),
      plainArray(column(({ isFinal }) => isFinal)),
      plainArray(column(({ retryAfterMs }) => retryAfterMs)),
      batchId,
      plainArray([...batches.keys()]),
      joinTexts([...batches.values()].map(toBatch)),
    ],
  });
  return {
    settled: new Set(rows.flatMap((row) => row.settled ?? [])),
    early: rows.flatMap(({ channel_account_id: channelAccountId, provider_message_id: providerMessageId }) =>
      channelAccountId === null || providerMessageId === null ? [] : [{ channelAccountId, providerMessageId }],
    ),
  };
}

function toBatch(attempts: readonly FinishedAttempt[]): string {
  const entries = attempts.map(({ deliveryId, attempt, startedAt, finishedAt, exchanges }) => {
    const kept = exchanges.length === 0 ? null : exchanges;
    return {
      delivery_id: deliveryId,
      number: attempt,
      started_at: startedAt,
      finished_at: finishedAt,
      exchanges: kept,
    };
  });
  return toStorable(JSON.stringify(entries));
}

function toArrayLiteral(items: readonly string[]): string {
  return `{${items.map((item) => `"${item.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}

const parts = {
  input: `input AS MATERIALIZED (
  SELECT delivery_id, channel_account_id, message_id, number, started_at, finished_at, outcome, exchanges,
    sent_parts::text[] AS sent_parts, part_count, error, is_final, retry_after_ms
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::text[],
    $8::text[], $9::text[], $10::int[], $11::jsonb[], $12::boolean[], $13::float8[]) AS i (
    delivery_id, channel_account_id, message_id, number, started_at, finished_at, outcome, exchanges, sent_parts,
    part_count, error, is_final, retry_after_ms)
)`,
  batches: `batches AS (
  INSERT INTO attempt_batches (batch_id, workspace_id, attempts)
  SELECT $14, workspace_id, attempts::json FROM unnest($15::uuid[], ${splitTexts("$16")}) AS b (workspace_id, attempts)
  ON CONFLICT DO NOTHING
  RETURNING batch_id
)`,
  // The first record of an attempt holds: one that a new owner gave up stays unknown.
  logged: `logged AS (
  INSERT INTO attempts (delivery_id, number, started_at, finished_at, outcome, exchanges, error)
  SELECT delivery_id, number, started_at, finished_at, outcome, exchanges::json, error FROM input WHERE outcome <> 'sent'
  ON CONFLICT DO NOTHING
  RETURNING number
)`,
  named: `named AS (
  INSERT INTO provider_messages (channel_account_id, provider_message_id, delivery_id, message_id)
  SELECT channel_account_id, part, delivery_id, message_id FROM input, unnest(sent_parts) AS part
  ON CONFLICT DO NOTHING
  RETURNING message_id
)`,
  // What was sent was sent, also by an attempt that another owner has given up. A receipt's status stays. Of a message that
  // was sent twice, the copy whose id is known first counts: its receipts were applied, and those to come will be.
  sent: `sent AS (
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
)`,
  // Joins on the number of the attempt: the outcome of one that was given up is too late for the schedule.
  others: `others AS (
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
)`,
  early: `SELECT NULL::uuid AS settled, e.channel_account_id, e.provider_message_id
  FROM input i CROSS JOIN unnest(i.sent_parts) AS part
  JOIN early_receipts e ON e.channel_account_id = i.channel_account_id AND e.provider_message_id = part`,
  settled: "SELECT delivery_id, NULL, NULL FROM others WHERE NOT is_pending AND NOT is_final",
};

interface Selected {
  name: string;
  changes: readonly (keyof typeof parts)[];
  changed: string;
  result: string;
}

function statementOf({ name, changes, changed, result }: Selected): { name: string; text: string } {
  const publish = publishStatuses({
    from: `${changed} d`,
    where: "d.status <> d.status_before",
    after: [...changes.filter((part) => part !== "sent" && part !== "others"), "result"],
    commitsEarly: true,
  });
  return {
    name,
    text: `WITH ${[parts.input, ...changes.map((part) => parts[part])].join(", ")},
result AS MATERIALIZED (${result}), published AS MATERIALIZED (${publish})
SELECT r.* FROM published LEFT JOIN result r ON true`,
  };
}

/** For attempts that sent their deliveries: PostgreSQL prepares every expression of a statement for each execution. */
const ordinary = statementOf({
  name: "finish_sent_attempts",
  changes: ["batches", "named", "sent"],
  changed: "sent",
  result: parts.early,
});
const general = statementOf({
  name: "finish_attempts",
  changes: ["batches", "logged", "named", "sent", "others"],
  changed: `(SELECT ${publishedColumns} FROM sent d UNION ALL SELECT ${publishedColumns} FROM others d)`,
  result: `${parts.early} UNION ALL ${parts.settled}`,
});
