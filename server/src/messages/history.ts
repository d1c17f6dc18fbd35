import { findConversation } from "../conversations/conversations.ts";
import type { Principal } from "../credentials/credentials.ts";
import { unknownCursor } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { maxPageBytes, type OfPage } from "../lib/page-bytes.ts";
import { allPrepared, type Db } from "../lib/query.ts";
import { type MessageRow, messageBytes, messageColumns } from "./show.ts";

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
  const rows = await listMessages(db, conversationId, { ...span, limit: query.limit });
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

/** Computing the size of a long message takes as long as reading it, so it is computed only for the rows of a page. */
function listMessages(
  db: Db,
  conversationId: ConversationId,
  { order, after, before, limit }: Span & { limit: number },
) {
  const [start, comesNext] = order === "ASC" ? [after, ">"] : [before, "<"];
  return allPrepared<MessageRow & OfPage>(
    db,
    `history ${order}`,
    `WITH RECURSIVE page (seq, number, bytes) AS (
       SELECT $5::bigint, 0, 0::bigint
       UNION ALL
       SELECT next.seq, page.number + 1, page.bytes + next.bytes
       FROM page CROSS JOIN LATERAL (
         SELECT m.seq, ${messageBytes} AS bytes FROM messages m
         WHERE m.conversation_id = $1 AND m.seq > $2 AND m.seq < $3 AND m.seq ${comesNext} page.seq
         ORDER BY m.seq ${order} LIMIT 1
       ) next WHERE page.number <= $4 AND page.bytes <= ${maxPageBytes}
     )
     SELECT ${messageColumns}, page.number < (SELECT max(number) FROM page) AS more_follow
     FROM page JOIN messages USING (seq)
     WHERE conversation_id = $1 AND page.number BETWEEN 1 AND $4
       AND (page.number = 1 OR page.bytes <= ${maxPageBytes})
     ORDER BY page.number`,
    [conversationId, after, before, limit, start],
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
