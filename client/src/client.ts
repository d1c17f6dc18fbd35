import type * as api from "../../contract/openapi.ts";
import { bodyOf, type Call, type Credential, openCall, type Page, type PageQuery, page, type Query } from "./call.ts";
import { fileCalls } from "./files.ts";
import { apiKeyCalls, auditLogCalls, authCalls, invitationCalls, userCalls, workspaceCalls } from "./identity-calls.ts";
import { openRealtime, type RealtimeOptions } from "./realtime.ts";
import { openSession } from "./session.ts";
import { documentCalls, taskCalls } from "./tasks.ts";

export type * from "../../contract/openapi.ts";
export { ApiError, type Call, type Credential, type Page, type PageQuery } from "./call.ts";
export type { FileSource, FormOptions, UploadOptions } from "./files.ts";
export type * from "./frames.ts";
export {
  type RealtimeConnection,
  RealtimeEnded,
  type RealtimeOptions,
  type RealtimeState,
} from "./realtime.ts";

export type ClientOptions = {
  /** Where the hub listens, without a slash at the end. */
  url: string;
  /** Left out, only what is public can be called. */
  credential?: Credential;
  fetch?: typeof fetch;
  /** Default: the platform's own, which browsers and Node.js from 22 on have. */
  WebSocket?: typeof WebSocket;
};

/** A message that was accepted; `isReplayed` when the hub had it already. */
export type Sent = api.AcceptedMessage & { isReplayed: boolean };

/**
 * The hub's API, typed, as this credential may use it. Every call throws `ApiError` when the hub refuses it. To an API key
 * that may write but not read, the response of a change lacks fields of its type: the types `Partial…` say which.
 */
export type Client = ReturnType<typeof openClient>;

export function openClient(options: ClientOptions) {
  const { url, credential, fetch = globalThis.fetch } = options;
  const call: Call = openCall({
    url,
    fetch,
    authorization: async () => (session === null ? null : `Bearer ${await session.token()}`),
  });
  const session = credential === undefined ? null : openSession(call, credential);
  return {
    url,
    call,
    auth: authCalls(call, () => session?.end() ?? Promise.resolve()),
    messages: messageCalls(call),
    conversations: conversationCalls(call),
    files: fileCalls(call, fetch),
    documents: documentCalls(call),
    tasks: taskCalls(call),
    contacts: contactCalls(call),
    users: userCalls(call),
    invitations: invitationCalls(call),
    apiKeys: apiKeyCalls(call),
    workspaces: workspaceCalls(call),
    auditLog: auditLogCalls(call),
    channelAccounts: channelAccountCalls(call),
    deadLetters: deadLetterCalls(call),
    webhookEndpoints: webhookEndpointCalls(call),
    events: eventCalls(call),
    realtime: {
      /** Receives events until it is closed, and reconnects automatically. */
      connect(chosen: RealtimeOptions = {}) {
        if (session === null) throw new Error("Realtime events need a credential.");
        const { WebSocket = globalThis.WebSocket } = options;
        return openRealtime({ url, session, call, WebSocket, random: Math.random }, chosen);
      },
    },
    stats: {
      /** For admins. */
      get: (query?: { period?: api.Stats["period"] }) =>
        bodyOf<api.Stats>(call, "GET", "/v1/stats", query === undefined ? {} : { query }),
    },
    operations: operationCalls(call),
  };
}

/** Every item of a list, page after page. */
export async function* everyPage<Item>(list: (page: PageQuery) => Promise<Page<Item>>): AsyncGenerator<Item> {
  let cursor: string | null | undefined;
  do {
    const page = await list({ limit: 200, ...(cursor ? { cursor } : {}) });
    yield* page.data;
    cursor = page.next_cursor;
  } while (cursor !== null);
}

function messageCalls(call: Call) {
  return {
    /** Safe to retry with the same `message_id`. */
    async send(body: api.NewMessage, options: { signal?: AbortSignal } = {}): Promise<Sent> {
      const answer = await call<api.AcceptedMessage>("POST", "/v1/messages", { body, ...options });
      return { ...answer.body, isReplayed: answer.headers.get("idempotent-replayed") === "true" };
    },
    /** 1 to 1,000 messages; results in their order. */
    sendBatch: async (messages: readonly api.NewMessage[]) =>
      (await bodyOf<api.BatchResults>(call, "POST", "/v1/messages/batch", { body: { messages } })).results,
    /** What `send` would do; sends nothing. */
    preflight: (body: api.NewMessage) => bodyOf<api.Preflight>(call, "POST", "/v1/messages/preflight", { body }),
    get: (id: string) => bodyOf<api.Message>(call, "GET", `/v1/messages/${id}`),
    /** All of it: as many requests as it has pages. */
    events: (id: string) =>
      Array.fromAsync(everyPage((query) => page<api.AuditTrailEntry>(call, `/v1/messages/${id}/events`, query))),
    /** All of it: as many requests as it has pages. */
    trace: (id: string) =>
      Array.fromAsync(everyPage((query) => page<api.TraceEntry>(call, `/v1/messages/${id}/trace`, query))),
  };
}

function conversationCalls(call: Call) {
  const path = "/v1/conversations";
  return {
    create: (body: api.NewConversation) => bodyOf<api.Conversation>(call, "POST", path, { body }),
    list: (query?: Query<"listConversations">) => page<api.ListedConversation>(call, path, query),
    get: (id: string) => bodyOf<api.ListedConversation>(call, "GET", `${path}/${id}`),
    change: (id: string, body: api.ConversationChange) =>
      bodyOf<api.Conversation>(call, "PATCH", `${path}/${id}`, { body }),
    addMember: (id: string, member: api.MemberInput) =>
      bodyOf<api.Conversation>(call, "POST", `${path}/${id}/members`, { body: { member } }),
    removeMember: (id: string, participantId: string) =>
      bodyOf<null>(call, "DELETE", `${path}/${id}/members/${participantId}`),
    /** Newest first, unless `after_seq` is given. */
    messages: (id: string, query?: Query<"listMessages">) => page<api.Message>(call, `${path}/${id}/messages`, query),
    /** Marks everything up to `seq` as read. Null when every platform that shows read marks has accepted them. */
    read: (id: string, seq: number) =>
      bodyOf<api.NotShown | null>(call, "POST", `${path}/${id}/read`, { body: { seq } }),
    /** Null when every platform that can show typing does. */
    typing: (id: string) => bodyOf<api.NotShown | null>(call, "POST", `${path}/${id}/typing`),
    capabilities: (id: string) => bodyOf<api.ConversationCapabilities>(call, "GET", `${path}/${id}/capabilities`),
  };
}

function contactCalls(call: Call) {
  const path = "/v1/contacts";
  return {
    create: (body: api.NewContact) => bodyOf<api.Contact>(call, "POST", path, { body }),
    list: (query?: Query<"listContacts">) => page<api.Contact>(call, path, query),
    get: (id: string) => bodyOf<api.Contact>(call, "GET", `${path}/${id}`),
    change: (id: string, body: api.ContactChange) => bodyOf<api.Contact>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    merge: (id: string, into: string) => bodyOf<api.Contact>(call, "POST", `${path}/${id}/merge`, { body: { into } }),
    addAddress: (id: string, address: string) =>
      bodyOf<api.Contact>(call, "POST", `${path}/${id}/addresses`, { body: { address } }),
  };
}

function channelAccountCalls(call: Call) {
  const path = "/v1/channel-accounts";
  return {
    /** `webhook` says whether the platform has the webhook's URL. */
    create: (body: api.NewChannelAccount) => bodyOf<api.ConnectedChannelAccount>(call, "POST", path, { body }),
    list: (query?: Query<"listChannelAccounts">) => page<api.ChannelAccount>(call, path, query),
    get: (id: string) => bodyOf<api.ChannelAccount>(call, "GET", `${path}/${id}`),
    /** New credentials make an account active that needs attention. */
    change: (id: string, body: api.ChannelAccountChange) =>
      bodyOf<api.ChannelAccount>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    health: (id: string) => bodyOf<api.ChannelAccountHealth>(call, "GET", `${path}/${id}/health`),
    verify: (id: string) => bodyOf<api.ChannelAccountVerification>(call, "POST", `${path}/${id}/verify`),
  };
}

function deadLetterCalls(call: Call) {
  const path = "/v1/dead-letters";
  return {
    list: (query?: Query<"listDeadLetters">) => page<api.DeadLetter>(call, path, query),
    replay: (id: string) => bodyOf<api.ReplayedDeadLetter>(call, "POST", `${path}/${id}/replay`),
    /** Oldest first, at most 1,000 in a call: repeat until `replayed` is 0. Needs a filter, or `all`. */
    replayAll: (body: api.DeadLetterReplay) =>
      bodyOf<api.ReplayedDeadLetters>(call, "POST", `${path}/replay`, { body }),
    discard: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

function webhookEndpointCalls(call: Call) {
  const path = "/v1/webhook-endpoints";
  return {
    /** `secret` is shown this once. */
    create: (body: api.NewWebhookEndpoint) => bodyOf<api.WebhookEndpointWithSecret>(call, "POST", path, { body }),
    list: (query?: PageQuery) => page<api.WebhookEndpoint>(call, path, query),
    get: (id: string) => bodyOf<api.WebhookEndpoint>(call, "GET", `${path}/${id}`),
    change: (id: string, body: api.WebhookEndpointChange) =>
      bodyOf<api.WebhookEndpoint>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    /** The old secret also signs during the overlap. */
    rotateSecret: (id: string, overlap_seconds?: number) =>
      bodyOf<api.WebhookEndpointWithSecret>(call, "POST", `${path}/${id}/rotate-secret`, {
        ...(overlap_seconds !== undefined && { body: { overlap_seconds } }),
      }),
    test: (id: string) => bodyOf<api.WebhookAttempt>(call, "POST", `${path}/${id}/test`),
    /** Newest first. */
    attempts: (id: string, query?: Query<"listWebhookAttempts">) =>
      page<api.WebhookAttempt>(call, `${path}/${id}/attempts`, query),
    replayAttempt: (id: string, attemptId: string) =>
      bodyOf<api.ReplayedEvent>(call, "POST", `${path}/${id}/attempts/${attemptId}/replay`),
    /** The events of a time range: repeat from `next_from` while there is one. */
    replay: (id: string, body: api.WebhookReplay) =>
      bodyOf<api.ReplayedEvents>(call, "POST", `${path}/${id}/replay`, { body }),
  };
}

function eventCalls(call: Call) {
  return {
    /** Oldest first; without `after`, from the oldest event that is kept. */
    list: (query: Query<"listEvents"> = {}) => bodyOf<api.EventPage>(call, "GET", "/v1/events", { query }),
  };
}

function operationCalls(call: Call) {
  return {
    isAlive: () => bodyOf<api.Liveness>(call, "GET", "/healthz", { isPublic: true }),
    readiness: () => bodyOf<api.Readiness>(call, "GET", "/readyz", { isPublic: true }),
  };
}
