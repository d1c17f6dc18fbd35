import { maxLastText, maxUnread } from "../../../contract/src/conversations.ts";
import { type Principal, seesAllConversations } from "../credentials/credentials.ts";
import { all, type Db } from "../lib/query.ts";
import type { ConversationRow } from "./conversation.ts";

export interface Activity {
  lastMessage: LastMessage | null;
  /** Of others, at most `maxUnread`. Null when neither the caller nor the workspace it reads for is a member. */
  unreadCount: number | null;
}

interface LastMessage {
  message_id: string;
  seq: number;
  from: string;
  direction: "outbound" | "inbound";
  payload: unknown;
  created_at: string;
}

export async function loadActivities(
  db: Db,
  principal: Principal,
  rows: readonly Pick<ConversationRow, "conversationId" | "lastSeq">[],
): Promise<Map<string, Activity>> {
  if (rows.length === 0) return new Map();
  const memberIds = [principal.participantId, ...(seesAllConversations(principal) ? [principal.workspaceId] : [])];
  const found = await all<{
    conversation_id: string;
    message_id: string | null;
    seq: number;
    sender_id: string;
    direction: LastMessage["direction"];
    payload: unknown;
    created_at: Date;
    unread_count: number | null;
  }>(
    db,
    `SELECT i.conversation_id, l.message_id, l.seq, l.sender_id, l.direction, l.created_at,
       CASE WHEN length(l.payload ->> 'text') > $5
           THEN jsonb_set(l.payload, '{text}', to_jsonb(left(l.payload ->> 'text', $5)))
         WHEN length(l.payload ->> 'parameters') > $5 THEN l.payload - 'parameters'
         ELSE l.payload END AS payload,
       u.unread_count
     FROM unnest($1::uuid[], $2::bigint[]) AS i (conversation_id, last_seq)
     LEFT JOIN messages l ON l.conversation_id = i.conversation_id AND l.seq = i.last_seq
     LEFT JOIN LATERAL (
       SELECT m.participant_id, m.read_seq FROM members m
       WHERE m.conversation_id = i.conversation_id AND m.participant_id = ANY ($3::uuid[])
       ORDER BY array_position($3::uuid[], m.participant_id) LIMIT 1) own ON true
     LEFT JOIN LATERAL (
       SELECT count(*)::integer AS unread_count FROM messages m
       WHERE m.conversation_id = i.conversation_id AND m.seq > greatest(own.read_seq, i.last_seq - $4)
         AND m.sender_id <> own.participant_id) u ON own.participant_id IS NOT NULL`,
    [
      rows.map(({ conversationId }) => conversationId),
      rows.map(({ lastSeq }) => lastSeq),
      memberIds,
      maxUnread,
      maxLastText,
    ],
  );
  return new Map(
    found.map(({ conversation_id, message_id, sender_id, created_at, unread_count, ...rest }) => {
      const { seq, direction, payload } = rest;
      const said = { seq, from: sender_id, direction, payload };
      const lastMessage = message_id === null ? null : { message_id, ...said, created_at: created_at.toISOString() };
      return [conversation_id, { lastMessage, unreadCount: unread_count }];
    }),
  );
}
