import { Type } from "typebox";
import type { ParseAddress } from "../contacts/contacts.ts";
import {
  addMember,
  type CapabilitiesOf,
  changeConversation,
  createConversation,
  getCapabilities,
  getConversation,
  type ListedConversation,
  listConversations,
  loadActivities,
  removeMember,
  showConversation,
} from "../conversations/conversations.ts";
import { decodeCursor, pageOf, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import type { TellTyping } from "../realtime/realtime.ts";
import type { Signals } from "../signals/signals.ts";
import { type ConversationMessageRouteDeps, conversationMessageRoutes } from "./conversation-messages.ts";
import {
  addMemberBody,
  capabilitiesResource,
  changeBody,
  conversationResource,
  createBody,
  listedConversation,
  listQuery,
  notShownResource,
  readBody,
  showActivity,
  showCapabilities,
} from "./conversation-schemas.ts";
import { bearer, errorAnswers, idParams, nothing, uuid } from "./identity-schemas.ts";

export interface ConversationRouteDeps extends ConversationMessageRouteDeps {
  clock: Clock;
  parseAddress: ParseAddress;
  signals: Pick<Signals, "read" | "tellRead" | "mayType" | "showTyping">;
  tellTyping: TellTyping;
  capabilitiesOf: CapabilitiesOf;
}

/** `/v1/conversations`: a member sees those it is in, agents and admins all of the workspace; others are not there. */
export function conversationRoutes(app: App, deps: ConversationRouteDeps): void {
  const { clock, parseAddress, signals, capabilitiesOf, tellTyping } = deps;
  conversationMessageRoutes(app, deps);

  app.post(
    "/v1/conversations",
    {
      config: { access: { role: "member", scope: "conversations:write" }, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Make a conversation",
        description:
          "A private conversation has exactly 2 members, a group 3 to 100; name all of them. A caller with the role member " +
          "must be among them, and may name only users and the workspace (403). All or nothing: with a wrong member, nothing " +
          "is created. A private conversation of the same two exists once, and is returned with 200; if a merge of contacts left " +
          "two, the one that the other names as `continued_in`. An API key may name only " +
          "the other participant: the workspace is added or, for a member's key, that user.",
        body: createBody,
        response: { 200: conversationResource, 201: conversationResource, ...errorAnswers(400, 401, 403, 409) },
      },
    },
    async ({ principal, db, body }, reply) => {
      const { conversation, isNew } = await createConversation({ db, clock, parseAddress }, principal, body);
      return reply.status(isNew ? 201 : 200).send(showConversation(conversation, principal));
    },
  );

  app.get(
    "/v1/conversations",
    {
      config: { access: { role: "member", scope: "conversations:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List conversations, newest first",
        description:
          "`sort=created` (default) or by their last message (`activity`). A cursor belongs to the filters and the order that " +
          "it was given for (400 with others); a conversation that becomes active meanwhile moves to the front.",
        querystring: listQuery,
        response: { 200: pageOf(listedConversation), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query }) => {
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
    },
  );

  app.get(
    "/v1/conversations/:id",
    {
      config: { access: { role: "member", scope: "conversations:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "Get a conversation",
        params: idParams,
        response: { 200: listedConversation, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) => {
      const conversation = await getConversation(db, principal, params.id);
      const activity = (await loadActivities(db, principal, [conversation])).get(conversation.conversationId)!;
      return { ...showConversation(conversation, principal), ...showActivity(activity, principal) };
    },
  );

  app.patch(
    "/v1/conversations/:id",
    {
      config: { access: { role: "member", scope: "conversations:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Change the title, the settings or inbound",
        description:
          "Only the fields in the body change; null removes the title. Changing `inbound` needs the role agent.",
        params: idParams,
        body: changeBody,
        response: { 200: conversationResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, body }) =>
      showConversation(await changeConversation(db, principal, params.id, body), principal),
  );

  app.get(
    "/v1/conversations/:id/capabilities",
    {
      config: { access: { role: "member", scope: "conversations:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "What can be sent to each member, by channel",
        params: idParams,
        response: { 200: capabilitiesResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) => {
      const members = await getCapabilities({ db, nowMs: clock.now(), capabilitiesOf }, principal, params.id);
      return showCapabilities(params.id.toLowerCase(), members, principal);
    },
  );

  app.post(
    "/v1/conversations/:id/members",
    {
      config: { access: { role: "member", scope: "conversations:write" }, idempotent: true },
      schema: {
        tags,
        security: bearer,
        summary: "Add a member to a group",
        description:
          "By an agent, an admin or any member; callers with the role member add users only (403). The new member sees earlier " +
          "messages.",
        params: idParams,
        body: addMemberBody,
        response: { 201: conversationResource, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params, body }, reply) => {
      const conversation = await addMember({ db, clock, parseAddress }, principal, params.id, body.member);
      return reply.status(201).send(showConversation(conversation, principal));
    },
  );

  app.delete(
    "/v1/conversations/:id/members/:participant_id",
    {
      config: { access: { role: "member", scope: "conversations:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Remove a member from a group",
        description:
          "By an agent, an admin or any member; members leave by removing themselves. The conversation is closed to " +
          "the one who was removed. The last member stays (409).",
        params: Type.Object({ id: uuid, participant_id: uuid }),
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404, 409) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await removeMember(db, principal, params.id, params.participant_id.toLowerCase());
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/conversations/:id/read",
    {
      config: { access: { role: "member", scope: "conversations:write" }, shows: ["not_shown"] },
      schema: {
        tags,
        security: bearer,
        summary: "Mark all messages up to one as read",
        description:
          "As the caller, where it is a member; else, for agents and admins, as the workspace. Reading never goes back: " +
          "a lower `seq` than before changes nothing. 204: the platforms that show read marks have them (see `read_marks` of " +
          "the capabilities). 202: it is kept, and `not_shown` says which platform does not have it yet, and why.",
        params: idParams,
        body: readBody,
        response: { 202: notShownResource, 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params, body }, reply) => {
      const id = params.id.toLowerCase();
      await signals.read(db, principal, id, body.seq);
      const missed = await signals.tellRead(db, id);
      return missed.length === 0 ? reply.status(204).send(null) : reply.status(202).send({ not_shown: missed });
    },
  );

  app.post(
    "/v1/conversations/:id/typing",
    {
      config: { access: { role: "member", scope: "conversations:write" }, shows: ["not_shown"] },
      schema: {
        tags,
        security: bearer,
        summary: "Say that the caller is writing",
        description:
          "Sent to the sockets that read the conversation, and shown on the platforms where the caller's next message would " +
          "go, once in 4 seconds for each conversation. 204: the platforms that can show it have it (see `typing` of the " +
          "capabilities). 202: `not_shown` says where it is not shown, and why. Where typing is shown only in answer to a " +
          "message, that message is marked as read.",
        params: idParams,
        body: Type.Unsafe<object | null>({ type: ["object", "null"], properties: {}, additionalProperties: false }),
        response: { 202: notShownResource, 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      const conversationId = params.id.toLowerCase();
      await signals.mayType(db, principal, conversationId);
      const { workspaceId, participantId } = principal;
      tellTyping({ workspaceId, participantId, conversationId });
      const missed = await signals.showTyping(db, principal, conversationId);
      return missed.length === 0 ? reply.status(204).send(null) : reply.status(202).send({ not_shown: missed });
    },
  );
}

const tags = ["Conversations"];
