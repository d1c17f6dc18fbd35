import { loadConversations, readLengths, showConversation } from "../conversations/conversations.ts";
import { anyAgent, anyMember } from "../credentials/credentials.ts";
import { type ShownFile, showFiles } from "../files/files.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { maxPageBytes } from "../lib/page-bytes.ts";
import type { Db } from "../lib/query.ts";
import type { EventContent, EventFrame, FeedEvent } from "./feed-event.ts";
import { loadMessageFacts, type MessageFacts, messageEvent, type StoredStatus, statusEvent } from "./message-events.ts";

/** An event as the feed stores it: see migrations 0007, 0021, 0022, 0041 and 0047. */
export type Stored =
  | ["m", conversationId: string, messageId: string]
  | StoredStatus
  | ["c", conversationId: string, change: "created" | "updated", leftId: string | null]
  | ["w", webhookEndpointId: string, status: "enabled" | "disabled", reason: string]
  | StoredAccount
  | StoredTask
  | [
      "f",
      conversationId: string | null,
      uploadedBy: string,
      fileId: string,
      change: "completed" | "rejected" | "deleted" | "described",
    ];

type StoredAccount = [
  "a",
  channelAccountId: ChannelAccountId,
  channel: string,
  name: string,
  status: "active" | "disabled" | "needs_attention",
  reason: string | null,
  detail: string | null,
];

type StoredTask = [
  "t",
  userId: string,
  taskId: string,
  kind: string,
  fileId: string | null,
  options: Record<string, unknown>,
  status: "pending" | "running" | "completed" | "failed" | "cancelled",
  progress: number,
  error: { code: string; message: string } | null,
  createdAt: string,
  startedAt: string | null,
  finishedAt: string | null,
];

export interface StoredEvent extends Pick<FeedEvent, "position" | "mark" | "at"> {
  event: Stored;
}

/**
 * Completes stored events with the rows that they are about: messages as they were written, conversations and files as
 * they are now. Takes two statements for messages, one for files and a few for conversations, for any number of events. Omits events about
 * deleted rows. `count` is how many were completed: at least one, and no more than fit in a page.
 */
export async function hydrateSome(
  db: Db,
  workspaceId: string,
  stored: readonly StoredEvent[],
): Promise<{ events: FeedEvent[]; count: number }> {
  const found = stored.map(({ event }) => event);
  const [facts, files, changed] = await Promise.all([
    loadMessageFacts(
      db,
      workspaceId,
      found.flatMap((event) => (event[0] === "m" ? [event[2]] : [])),
      found.filter((event) => event[0] === "s"),
    ),
    showFiles(
      db,
      workspaceId,
      found.flatMap((event) => (event[0] === "f" ? [event[3]] : [])),
    ),
    loadChanged(
      db,
      found.flatMap((event) => (event[0] === "c" ? [event[1]] : [])),
    ),
  ]);
  let changes = 0;
  const end = found.findIndex((event) => {
    if (event[0] === "c") changes += 1;
    return changes > changed.count || (event[0] === "m" && facts.messages.get(event[2])?.payload === null);
  });
  const some = end === -1 ? stored : stored.slice(0, end);
  const events = some.flatMap(({ position, mark, at, event }) => {
    const content = contentOf(event, facts, files, changed.conversations);
    if (content === null) return [];
    const whole = ({ type, ...fields }: EventFrame) => ({ type, event: content.name, at: at.toISOString(), ...fields });
    const orNull = (frame: EventFrame | null | undefined) => (frame ? whole(frame) : null);
    const { onlyFor = null, alsoSeenBy = null, awaits = null, memberFrame, partingFrame } = content;
    return {
      ...{ position, mark, at, onlyFor, alsoSeenBy, awaits },
      name: content.name,
      conversationId: content.conversationId,
      frame: whole(content.frame),
      memberFrame: orNull(memberFrame),
      partingFrame: orNull(partingFrame),
    };
  });
  return { events, count: some.length };
}

function contentOf(
  event: Stored,
  facts: MessageFacts,
  files: ReadonlyMap<string, ShownFile>,
  conversations: ReadonlyMap<string, Shown>,
): EventContent | null {
  switch (event[0]) {
    case "m":
      return messageEvent(event[2], facts);
    case "s":
      return statusEvent(event, facts);
    case "c": {
      const [, conversationId, change, leftId] = event;
      const conversation = conversations.get(conversationId);
      if (conversation === undefined) return null;
      const frameOf = (shown: ShownConversation) => ({ type: "CONVERSATION" as const, conversation: shown });
      // The conversation is read as it is now, also for a member who left long ago.
      const partingFrame =
        leftId === null ? null : frameOf({ ...conversation.toMembers, title: null, members: [], last_seq: 0 });
      const name = `conversation.${change}` as const;
      const [frame, memberFrame] = [frameOf(conversation.toAgents), frameOf(conversation.toMembers)];
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
    case "f": {
      const [, conversationId, uploadedBy, fileId, change] = event;
      const file = files.get(fileId);
      if (file === undefined) return null;
      const frame = { type: "FILE" as const, conversation_id: conversationId, file };
      return { name: `file.${change}`, conversationId, ...(conversationId === null && { onlyFor: uploadedBy }), frame };
    }
    case "t": {
      const [, user_id, task_id, task_type, file_id, options, status, progress, error, ...times] = event;
      const [created_at, started_at, finished_at] = times.map((time) => time && new Date(time).toISOString());
      const task = { task_id, task_type, status, progress, user_id, file_id, options, error };
      const frame = { type: "TASK" as const, task: { ...task, created_at, started_at, finished_at } };
      return { name: `task.${status}`, conversationId: null, onlyFor: user_id, frame };
    }
    default:
      return event satisfies never;
  }
}

type ShownConversation = ReturnType<typeof showConversation>;

/** Made once for all events of a conversation, because a large group takes as long as many messages. */
interface Shown {
  toAgents: ShownConversation;
  toMembers: ShownConversation;
}

/** The conversations of the first `count` events; one that is repeated counts again, as it is shown again. */
async function loadChanged(
  db: Db,
  conversationIds: readonly string[],
): Promise<{ conversations: Map<string, Shown>; count: number }> {
  const conversations = new Map<string, Shown>();
  if (conversationIds.length === 0) return { conversations, count: 0 };
  const lengths = await readLengths(db, [...new Set(conversationIds)]);
  let [length, count] = [0, 0];
  for (const id of conversationIds) {
    length += lengths.get(id) ?? 0;
    if (count > 0 && length > maxPageBytes) break;
    count += 1;
  }
  const wanted = [...new Set(conversationIds.slice(0, count))];
  for (const conversation of await loadConversations(db, wanted)) {
    const [toAgents, toMembers] = [showConversation(conversation, anyAgent), showConversation(conversation, anyMember)];
    conversations.set(conversation.conversationId, { toAgents, toMembers });
  }
  return { conversations, count };
}
