import { invalid } from "../errors.ts";
import type { Principal } from "../identity/principal.ts";
import { all, type Db } from "../lib/query.ts";
import { type MessageRow, messageColumns } from "../messages/show.ts";
import { findConversation } from "./conversation.ts";

/** Where to look in a conversation. Newest first, unless `afterSeq` is given or the cursor comes from such a page. */
export interface HistoryQuery {
  limit: number;
  /** How many to leave out, counted from the end at which the page begins. A cursor has left them out already. */
  offset: number;
  beforeSeq?: number | undefined;
  afterSeq?: number | undefined;
  cursor?: string | undefined;
}

export interface HistoryPage {
  rows: MessageRow[];
  nextCursor: string | null;
}

/** Throws RESOURCE_NOT_FOUND for a conversation that the caller may not see. */
export async function readHistory(
  db: Db,
  principal: Principal,
  conversationId: string,
  query: HistoryQuery,
): Promise<HistoryPage> {
  const { lastSeq } = await findConversation(db, principal, conversationId);
  const span = spanOf(query, lastSeq);
  const rows = await listMessages(db, conversationId, { ...span, limit: query.limit + 1 });
  const shown = rows.slice(0, query.limit);
  const hasMore = rows.length > shown.length;
  return { rows: shown, nextCursor: hasMore ? encodeCursor(span.order, shown.at(-1)!.seq) : null };
}

type Order = "ASC" | "DESC";

/** The messages between two, both left out. */
interface Span {
  order: Order;
  after: number;
  before: number;
}

/** `seq` has no gaps, so leaving messages out is arithmetic, and costs the same however many they are. */
function spanOf({ offset, beforeSeq, afterSeq, cursor }: HistoryQuery, lastSeq: number): Span {
  const from = cursor === undefined ? null : decodeCursor(cursor);
  const order = from?.order ?? (afterSeq === undefined ? "DESC" : "ASC");
  const after = afterSeq ?? 0;
  const before = Math.min(beforeSeq ?? Number.POSITIVE_INFINITY, lastSeq + 1);
  if (order === "ASC") return { order, after: from ? Math.max(after, from.seq) : after + offset, before };
  return { order, after, before: from ? Math.min(before, from.seq) : before - offset };
}

function listMessages(db: Db, conversationId: string, { order, after, before, limit }: Span & { limit: number }) {
  return all<MessageRow>(
    db,
    `SELECT ${messageColumns} FROM messages
     WHERE conversation_id = $1 AND seq > $2 AND seq < $3 ORDER BY seq ${order} LIMIT $4`,
    [conversationId, after, before, limit],
  );
}

function encodeCursor(order: Order, seq: number): string {
  return Buffer.from(`${order}:${seq}`).toString("base64url");
}

function decodeCursor(cursor: string): { order: Order; seq: number } {
  const match = /^(ASC|DESC):(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString());
  if (match === null) throw invalid("cursor is not one that this hub gave out; leave it out to begin again.");
  return { order: match[1] as Order, seq: Number(match[2]) };
}
