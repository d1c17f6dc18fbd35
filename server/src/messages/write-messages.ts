import type { Bus } from "../bus/bus.ts";
import { canonicalJson } from "../lib/json.ts";
import { all, type Db } from "../lib/query.ts";
import { insertMessages } from "./insert-messages.ts";

/** A message that was checked for shape, ready to be written. */
export interface NewMessage {
  workspaceId: string;
  messageId: string;
  conversationId: string;
  senderId: string;
  /** Whether the sender has to be a member of the conversation; otherwise its right to write there is known already. */
  mustBeMember: boolean;
  direction: "outbound" | "inbound";
  /** JSON. */
  payload: string;
  /** Channels asked for, separated by commas; `*` for all; null for each recipient's own default. */
  channels: string | null;
  /** JSON of `via` and `fallback`, or null. */
  options: string | null;
  /** The address to which it is sent, in its stored form; null where it names its conversation. */
  to: string | null;
  replyTo: string | null;
  /** The message a reaction is about. */
  reactsTo: string | null;
  /** JSON, or null. */
  metadata: string | null;
  /** JSON: for an inbound message, where it came from. */
  origin: string | null;
}

/**
 * What a message fails: there is no such conversation, the sender is not in it, what it points at is not, nobody hears.
 */
export type Refusal = "conversation" | "sender" | "reply_to" | "reacts_to" | "route";

export type Written =
  | { kind: "accepted"; seq: number; createdAt: Date; conversationId: string }
  | { kind: "known"; seq: number; createdAt: Date; conversationId: string; isSame: (message: NewMessage) => boolean }
  | { kind: "refused"; why: Refusal };

/**
 * Writes messages with distinct ids, in one transaction and one round trip as long as nothing is wrong with any. Those
 * that are known already or may not be written are found out and told so; the others are written without them. One
 * result for each, in order. Safe to call again when it threw: what was written is then known.
 */
export async function writeMessages(
  db: Db,
  bus: Bus,
  topic: string,
  messages: readonly NewMessage[],
  now: Date,
): Promise<Written[]> {
  const written = new Map<NewMessage, Written>();
  let left = messages;
  while (left.length > 0) {
    const settled = await tryToWrite(db, bus, topic, left, now);
    for (const [message, result] of settled) written.set(message, result);
    left = left.filter((message) => !settled.has(message));
  }
  return messages.map((message) => written.get(message)!);
}

/** Settles all of them, or those that stood in the way of the others: at least one, or it throws. */
async function tryToWrite(
  db: Db,
  bus: Bus,
  topic: string,
  messages: readonly NewMessage[],
  now: Date,
): Promise<Map<NewMessage, Written>> {
  try {
    const inserted = await insertMessages(db, topic, messages, bus.outboxOf(messages.map(toRecord)), now);
    if (inserted.kind === "written") return tellWritten(messages, inserted.seqs, now);
    // Who was let in before gets the same answer again, whatever has changed since.
    const known = await findKnown(db, [...inserted.why.keys()]);
    const refused = [...inserted.why].map(
      ([message, why]) => [message, known.get(message) ?? { kind: "refused", why }] as const,
    );
    return new Map<NewMessage, Written>(refused);
  } catch (error) {
    if ((error as { code?: string }).code !== "23505") throw error;
    const known = await findKnown(db, messages);
    // None: another process had written one of them and rolled back meanwhile.
    if (known.size === 0) throw error;
    return known;
  }
}

function toRecord({ workspaceId, messageId, conversationId }: NewMessage) {
  return { key: conversationId, value: { workspaceId, messageId } };
}

function tellWritten(messages: readonly NewMessage[], seqs: readonly number[], createdAt: Date) {
  return new Map<NewMessage, Written>(
    messages.map((message, index) => {
      const { conversationId } = message;
      return [message, { kind: "accepted", seq: seqs[index]!, createdAt, conversationId }];
    }),
  );
}

/** Where those of the messages are that were accepted before, and to which address they were sent, by id. */
export async function findAccepted(
  db: Db,
  workspaceId: string,
  messageIds: readonly string[],
): Promise<Map<string, { conversationId: string; to: string | null }>> {
  const rows = await all<{ id: string; conversationId: string; to: string | null }>(
    db,
    `SELECT message_id AS id, conversation_id AS "conversationId", options ->> 'to' AS "to" FROM messages
     WHERE workspace_id = $1 AND message_id = ANY ($2)`,
    [workspaceId, messageIds],
  );
  return new Map(rows.map(({ id, ...place }) => [id, place]));
}

interface KnownRow {
  place: number;
  seq: number;
  created_at: Date;
  conversation_id: string;
  sender_id: string;
  payload: unknown;
  channels: string | null;
  options: { to?: string } | null;
  reply_to: string | null;
  metadata: unknown;
}

async function findKnown(db: Db, messages: readonly NewMessage[]): Promise<Map<NewMessage, Written>> {
  const rows = await all<KnownRow>(
    db,
    `SELECT i.place, m.seq, m.created_at, m.conversation_id, m.sender_id, m.payload, m.channels, m.options, m.reply_to,
       m.metadata
     FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS i (workspace_id, message_id, place)
     JOIN messages m USING (workspace_id, message_id)`,
    [messages.map((message) => message.workspaceId), messages.map((message) => message.messageId)],
  );
  return new Map<NewMessage, Written>(
    rows.map((row) => {
      const { place, seq, created_at: createdAt, conversation_id: conversationId } = row;
      let content: Content | undefined;
      const isSame = (message: NewMessage) => {
        content ??= contentOf(row);
        return isSameMessage(message, content);
      };
      return [messages[place - 1]!, { kind: "known", seq, createdAt, conversationId, isSame }];
    }),
  );
}

/** What makes two messages with one id the same request. */
type Content = Pick<
  NewMessage,
  "conversationId" | "senderId" | "channels" | "options" | "to" | "replyTo" | "payload" | "metadata"
>;

/** Takes as long as reading the JSON of the message. */
function contentOf(row: KnownRow): Content {
  const { to = null, ...options } = row.options ?? {};
  return {
    conversationId: row.conversation_id,
    senderId: row.sender_id,
    channels: row.channels,
    options: Object.keys(options).length === 0 ? null : canonicalJson(options),
    to,
    replyTo: row.reply_to,
    payload: canonicalJson(row.payload)!,
    metadata: row.metadata === null ? null : canonicalJson(row.metadata),
  };
}

/**
 * An inbound message is identified by the platform's id alone, from which its own id derives: each webhook that brings
 * it has another origin. The JSON of an outbound message is canonical, so texts are compared: a batch may repeat one id
 * a thousand times.
 */
export function isSameMessage(message: NewMessage, known: Content): boolean {
  if (message.direction === "inbound") return true;
  // The same address may lead to another conversation since.
  const isSamePlace =
    message.conversationId === known.conversationId || (message.to !== null && message.to === known.to);
  return (
    isSamePlace &&
    message.senderId === known.senderId &&
    message.channels === known.channels &&
    message.replyTo === known.replyTo &&
    message.options === known.options &&
    message.payload === known.payload &&
    message.metadata === known.metadata
  );
}
