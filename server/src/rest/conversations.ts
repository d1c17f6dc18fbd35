import { conversations } from "../../../contract/src/conversations.ts";
import { conversationMessages, type Message } from "../../../contract/src/messages.ts";
import { type ParseAddress, showParticipant } from "../contacts/contacts.ts";
import {
  type Activity,
  addMember,
  type CapabilitiesOf,
  changeConversation,
  createConversation,
  getCapabilities,
  getConversation,
  type ListedConversation,
  listConversations,
  loadActivities,
  type MemberCapabilities,
  removeMember,
  showConversation,
  showWindow,
} from "../conversations/conversations.ts";
import { hasScope, type Scoped, type Viewer } from "../credentials/credentials.ts";
import type { TypingNotifier } from "../events/events.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import type { Db } from "../lib/query.ts";
import { type MessageRow, readHistory } from "../messages/messages.ts";
import type { Signals } from "../signals/signals.ts";

export interface ConversationRouteDeps {
  showMessages: (db: Db, viewer: Viewer, rows: readonly MessageRow[]) => Promise<Message[]>;
  clock: Clock;
  parseAddress: ParseAddress;
  signals: Pick<Signals, "read" | "sendReadMarks" | "mayType" | "showTyping">;
  typingNotifier: Pick<TypingNotifier, "notify">;
  capabilitiesOf: CapabilitiesOf;
}

/** `/v1/conversations`: members see their own, agents and admins all of the workspace; others get 404. */
export function conversationRoutes(app: App, deps: ConversationRouteDeps): void {
  const { clock, parseAddress, signals, capabilitiesOf, typingNotifier, showMessages } = deps;

  route(app, conversationMessages.listMessages, async ({ principal, db, params, query }) => {
    const { limit = 50, offset = 0, cursor, before_seq, after_seq } = query;
    const span = { limit, offset, cursor, beforeSeq: before_seq, afterSeq: after_seq };
    const { rows, nextCursor } = await readHistory(db, principal, params.id, span);
    return { data: await showMessages(db, principal, rows), next_cursor: nextCursor };
  });

  route(app, conversations.createConversation, async ({ principal, db, body }, reply) => {
    const { conversation, isNew } = await createConversation({ db, clock, parseAddress }, principal, body);
    reply.status(isNew ? 201 : 200);
    return showConversation(conversation, principal);
  });

  route(app, conversations.listConversations, async ({ principal, db, query }) => {
    const { limit = 50, cursor, sort = "created", contact_id, participant_id, channel, updated_after } = query;
    const rows = await listConversations(db, principal, {
      contactId: contact_id,
      participantId: participant_id,
      channel,
      updatedAfter: updated_after === undefined ? undefined : new Date(updated_after),
      sort,
      limit,
      after: decodeCursor(cursor),
    });
    const show = (row: ListedConversation) => ({
      ...showConversation(row, principal),
      ...showActivity(row, principal),
    });
    return toPage(rows, limit, show, ({ conversationId: id, createdAt, activeAt }) => {
      return { at: sort === "activity" ? activeAt : createdAt, id };
    });
  });

  route(app, conversations.getConversation, async ({ principal, db, params }) => {
    const conversation = await getConversation(db, principal, params.id);
    const activity = (await loadActivities(db, principal, [conversation])).get(conversation.conversationId)!;
    return { ...showConversation(conversation, principal), ...showActivity(activity, principal) };
  });

  route(app, conversations.updateConversation, async ({ principal, db, params, body }) =>
    showConversation(await changeConversation(db, principal, params.id, body), principal),
  );

  route(app, conversations.getConversationCapabilities, async ({ principal, db, params }) => {
    const members = await getCapabilities({ db, nowMs: clock.now(), capabilitiesOf }, principal, params.id);
    return showCapabilities(params.id, members, principal);
  });

  route(app, conversations.addMember, async ({ principal, db, params, body }) =>
    showConversation(await addMember({ db, clock, parseAddress }, principal, params.id, body.member), principal),
  );

  route(app, conversations.removeMember, ({ principal, db, params }) =>
    removeMember(db, principal, params.id, params.participant_id),
  );

  route(app, conversations.markConversationRead, async ({ principal, db, params: { id }, body }, reply) => {
    await signals.read(db, principal, id, body.seq);
    const missed = await signals.sendReadMarks(db, id);
    reply.status(missed.length === 0 ? 204 : 202);
    return missed.length === 0 ? undefined : { not_shown: missed };
  });

  route(app, conversations.showTyping, async ({ principal, db, params: { id: conversationId } }, reply) => {
    await signals.mayType(db, principal, conversationId);
    const { workspaceId, participantId } = principal;
    typingNotifier.notify({ workspaceId, participantId, conversationId });
    const missed = await signals.showTyping(db, principal, conversationId);
    reply.status(missed.length === 0 ? 204 : 202);
    return missed.length === 0 ? undefined : { not_shown: missed };
  });
}

function showActivity({ lastMessage, unreadCount }: Activity, caller: Scoped) {
  return { last_message: hasScope(caller, "messages:read") ? lastMessage : null, unread_count: unreadCount };
}

function showCapabilities(conversationId: string, members: MemberCapabilities[], viewer: Viewer) {
  return {
    conversation_id: conversationId,
    members: members.map((member) => {
      const shown = showParticipant(member, viewer);
      const channels = member.channels.map(({ window, ...channel }) => ({
        ...showChannel(channel, shown.addresses.length > 0),
        window: showWindow(window, viewer, member.participantId),
      }));
      return { ...shown, channels };
    }),
  };
}

function showChannel(
  { channel, addresses, payloads, ...rest }: Omit<MemberCapabilities["channels"][number], "window">,
  areAddressesShown: boolean,
) {
  const { maxTextLength, media, receipts, replies, typing, readMarks } = rest;
  return {
    channel,
    addresses: areAddressesShown ? addresses : [],
    payloads: [...payloads],
    max_text_length: maxTextLength,
    media: media.map(({ kind, contentTypes, maxBytes, maxCaptionLength }) => ({
      kind,
      content_types: contentTypes && [...contentTypes],
      max_size: maxBytes,
      max_caption_length: maxCaptionLength,
    })),
    receipts: [...receipts],
    replies,
    typing,
    read_marks: readMarks,
  };
}
