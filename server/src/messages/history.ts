import { findConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import { unknownCursor } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { maxPageBytes, type OfPage } from "../lib/page-bytes.ts";
import { allPrepared, type Db } from "../lib/query.ts";
import { deliveryBytes, type MessageRow, messageBytes, messageColumns } from "./show.ts";

/** Newest first, unless `afterSeq` is given or the cursor comes from such a page. */
interface HistoryQuery {
  limit: number;
  /** Messages to skip, from the start of the page. Ignored with a cursor. */
  offset: number;
  beforeSeq?: number | undefined;
  afterSeq?: number | undefined;
  cursor?: string | undefined;
}

interface HistoryPage {
  rows: MessageRow[];
  nextCursor: string | null;
}

/** Throws RESOURCE_NOT_FOUND for a conversation that the caller may not see. */
export async function readHistory(
  db: Db,
  principal: Principal,
  conversationId: ConversationId,
  query: HistoryQuery,
): Promise<HistoryPage> {
  const { lastSeq } = await findConversation(db, principal, conversationId);
  const span = spanOf(query, lastSeq);
  const rows = await listMessages(db, principal.workspaceId, conversationId, { ...span, limit: query.limit });
  const last = rows.at(-1);
  return { rows, nextCursor: last?.more_follow ? encodeCursor(span.order, last.seq) : null };
}

type Order = "ASC" | "DESC";

interface Span {
  order: Order;
  after: number;
  before: number;
}

/** `seq` has no gaps, so skipping messages is arithmetic, and costs the same for any number. */
function spanOf({ offset, beforeSeq, afterSeq, cursor }: HistoryQuery, lastSeq: number): Span {
  const from = cursor === undefined ? null : decodeCursor(cursor);
  const order = from?.order ?? (afterSeq === undefined ? "DESC" : "ASC");
  const after = afterSeq ?? 0;
  const before = Math.min(beforeSeq ?? Number.POSITIVE_INFINITY, lastSeq + 1);
  if (order === "ASC") return { order, after: from ? Math.max(after, from.seq) : after + offset, before };
  return { order, after, before: from ? Math.min(before, from.seq) : before - offset };
}

/**
 * Only the ids are looked for in every partition. Computing the size of a long message takes as long as reading
 * it, so it is computed only for the rows of a page.
 */
function listMessages(
  db: Db,
  workspaceId: string,
  conversationId: ConversationId,
  { order, after, before, limit }: Span & { limit: number },
) {
  return allPrepared<MessageRow & OfPage>(
    db,
    `history ${order}`,
    `WITH RECURSIVE found AS MATERIALIZED (
       SELECT m.message_id AS id, m.seq, first_id_at(m.created_at) AS first, last_id_at(m.created_at) AS last FROM messages m
       WHERE m.conversation_id = $1 AND m.seq > $2 AND m.seq < $3
       ORDER BY m.seq ${order} LIMIT $4::integer + 1
     ), ids AS MATERIALIZED (
       SELECT array_agg(id ORDER BY seq ${order}) AS ids FROM found
     ), sizes AS MATERIALIZED (
       SELECT f.id, d.bytes FROM found f CROSS JOIN LATERAL (
         SELECT sum(${deliveryBytes}) AS bytes FROM deliveries d
         WHERE d.message_id = f.id AND d.delivery_id BETWEEN f.first AND f.last) d
     ), page (number, bytes, message) AS (
       SELECT 0, 0::bigint, NULL::messages
       UNION ALL
       SELECT page.number + 1, page.bytes + next.bytes + coalesce((SELECT bytes FROM sizes WHERE id = ids.ids[page.number + 1]), 0),
         next.message
       FROM page CROSS JOIN ids CROSS JOIN LATERAL (
         SELECT m AS message, ${messageBytes} AS bytes FROM messages m
         WHERE m.workspace_id = $5 AND m.message_id = ids.ids[page.number + 1] LIMIT 1
       ) next WHERE page.bytes <= ${maxPageBytes}
     )
     SELECT ${messageColumns}, number < (SELECT max(number) FROM page) AS more_follow
     FROM (SELECT number, bytes, (message).* FROM page WHERE number BETWEEN 1 AND $4) page
     WHERE number = 1 OR bytes <= ${maxPageBytes}
     ORDER BY number`,
    [conversationId, after, before, limit, workspaceId],
  );
}

function encodeCursor(order: Order, seq: number): string {
  return Buffer.from(`${order}:${seq}`).toString("base64url");
}

function decodeCursor(cursor: string): { order: Order; seq: number } {
  const match = /^(ASC|DESC):(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString());
  if (match === null) throw unknownCursor();
  return { order: match[1] as Order, seq: Number(match[2]) };
}
