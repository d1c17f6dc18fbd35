import { type Conversation, loadConversations, showConversation } from "../conversations/conversations.ts";
import { anyAgent, anyMember, type Viewer } from "../identity/principal.ts";
import type { Db } from "../lib/query.ts";
import type { EventFrame, FeedEvent, Told } from "./feed-event.ts";
import { loadMessageFacts, type MessageFacts, type StoredStatus, tellMessage, tellStatus } from "./message-events.ts";

/** An event as the feed keeps it: see migrations 0007 and 0021. */
export type Stored =
  | ["m", conversationId: string, messageId: string]
  | StoredStatus
  | ["c", conversationId: string, change: "created" | "updated", leftId: string | null]
  | ["w", webhookEndpointId: string, status: "enabled" | "disabled", reason: string]
  | StoredAccount;

/** See migration 0022. */
type StoredAccount = [
  "a",
  channelAccountId: string,
  channel: string,
  name: string,
  status: "active" | "disabled" | "needs_attention",
  reason: string | null,
  detail: string | null,
];

export interface StoredEvent extends Pick<FeedEvent, "position" | "mark" | "at"> {
  event: Stored;
}

/**
 * Completes stored events with what they are about: messages as they were written, conversations as they are now. Two
 * statements for messages and a few for conversations, for any count. An event about something that was deleted is left out.
 */
export async function hydrate(db: Db, workspaceId: string, stored: readonly StoredEvent[]): Promise<FeedEvent[]> {
  const events = stored.map(({ event }) => event);
  const [facts, conversations] = await Promise.all([
    loadMessageFacts(
      db,
      workspaceId,
      events.flatMap((event) => (event[0] === "m" ? [event[2]] : [])),
      events.filter((event) => event[0] === "s"),
    ),
    loadChanged(db, [...new Set(events.flatMap((event) => (event[0] === "c" ? [event[1]] : [])))]),
  ]);
  return stored.flatMap(({ position, mark, at, event }) => {
    const told = tell(event, facts, conversations);
    if (told === null) return [];
    const whole = ({ type, ...fields }: EventFrame) => ({ type, event: told.name, at: at.toISOString(), ...fields });
    const orNull = (frame: EventFrame | null | undefined) => (frame ? whole(frame) : null);
    const { alsoSeenBy = null, awaits = null, memberFrame, partingFrame } = told;
    return {
      ...{ position, mark, at, alsoSeenBy, awaits },
      name: told.name,
      conversationId: told.conversationId,
      frame: whole(told.frame),
      memberFrame: orNull(memberFrame),
      partingFrame: orNull(partingFrame),
    };
  });
}

function tell(event: Stored, facts: MessageFacts, conversations: ReadonlyMap<string, Conversation>): Told | null {
  switch (event[0]) {
    case "m":
      return tellMessage(event[2], facts);
    case "s":
      return tellStatus(event, facts);
    case "c": {
      const [, conversationId, change, leftId] = event;
      const conversation = conversations.get(conversationId);
      if (conversation === undefined) return null;
      const frameOf = (shown: Conversation, viewer: Viewer) => ({
        type: "CONVERSATION" as const,
        conversation: showConversation(shown, viewer),
      });
      // It is read as it is now, also by one who left long ago.
      const partingFrame =
        leftId === null ? null : frameOf({ ...conversation, title: null, members: [], lastSeq: 0 }, anyMember);
      const name = `conversation.${change}` as const;
      const [frame, memberFrame] = [frameOf(conversation, anyAgent), frameOf(conversation, anyMember)];
      return { name, conversationId, alsoSeenBy: leftId, frame, memberFrame, partingFrame };
    }
    case "w": {
      const [, webhook_endpoint_id, status, reason] = event;
      const frame = { type: "WEBHOOK_ENDPOINT" as const, webhook_endpoint_id, status, reason };
      return { name: `webhook_endpoint.${status}`, conversationId: null, frame };
    }
    case "a": {
      const [, channel_account_id, channel, name, status, reason, detail] = event;
      const frame = { type: "CHANNEL_ACCOUNT" as const, channel_account_id, channel, name, status, reason, detail };
      return { name: `channel_account.${status}`, conversationId: null, frame };
    }
    default:
      return event satisfies never;
  }
}

async function loadChanged(db: Db, conversationIds: string[]): Promise<Map<string, Conversation>> {
  if (conversationIds.length === 0) return new Map();
  const conversations = await loadConversations(db, conversationIds);
  return new Map(conversations.map((conversation) => [conversation.conversationId, conversation]));
}
