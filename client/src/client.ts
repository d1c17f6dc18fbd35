import { bodyOf, type Call, type Credential, openCall, page } from "./call.ts";
import type { EventPage } from "./frames.ts";
import { apiKeyCalls, auditLogCalls, authCalls, invitationCalls, userCalls, workspaceCalls } from "./identity-calls.ts";
import { openRealtime, type RealtimeOptions } from "./realtime.ts";
import type * as resource from "./resources.ts";
import { openSession } from "./session.ts";

export { ApiError, type Call, type Credential } from "./call.ts";
export type * from "./frames.ts";
export type * from "./identity-resources.ts";
export {
  type RealtimeConnection,
  RealtimeEnded,
  type RealtimeOptions,
  type RealtimeState,
} from "./realtime.ts";
export type * from "./resources.ts";

export type ClientOptions = {
  /** Where the hub listens, without a slash at the end. */
  url: string;
  /** Left out, only what is public can be called. */
  credential?: Credential;
  /** Default: the platform's own. */
  fetch?: typeof fetch;
  /** Default: the platform's own, which browsers and Node.js from 22 on have. */
  WebSocket?: typeof WebSocket;
};

/** A message that was accepted; `isReplayed` when the hub had it already. */
export type Sent = resource.AcceptedMessage & { isReplayed: boolean };

/** The hub's API, typed, as this credential may use it. Every call throws `ApiError` for what the hub refuses. */
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
    /** For what has no name here. */
    call,
    auth: authCalls(call, () => session?.end() ?? Promise.resolve()),
    messages: messageCalls(call),
    conversations: conversationCalls(call),
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
      /** Listens to events until it is closed, and comes back by itself. */
      connect(chosen: RealtimeOptions = {}) {
        if (session === null) throw new Error("Events are told to those who have a credential.");
        const { WebSocket = globalThis.WebSocket } = options;
        return openRealtime({ url, session, call, WebSocket, random: Math.random }, chosen);
      },
    },
    operations: operationCalls(call),
  };
}

/** Every item of a list, page after page. */
export async function* everyPage<Item>(
  list: (page: resource.PageQuery) => Promise<resource.Page<Item>>,
): AsyncGenerator<Item> {
  let cursor: string | null | undefined;
  do {
    const page = await list({ limit: 200, ...(cursor ? { cursor } : {}) });
    yield* page.data;
    cursor = page.next_cursor;
  } while (cursor !== null);
}

function messageCalls(call: Call) {
  return {
    /** Safe to repeat with the same `message_id` until an answer comes. */
    async send(body: resource.NewMessage, options: { signal?: AbortSignal } = {}): Promise<Sent> {
      const answer = await call<resource.AcceptedMessage>("POST", "/v1/messages", { body, ...options });
      return { ...answer.body, isReplayed: answer.headers.get("idempotent-replayed") === "true" };
    },
    /** 1 to 1,000 messages; results in their order. */
    sendBatch: async (messages: readonly resource.NewMessage[]) =>
      (await bodyOf<{ results: resource.BatchResult[] }>(call, "POST", "/v1/messages/batch", { body: { messages } }))
        .results,
    get: (id: string) => bodyOf<resource.Message>(call, "GET", `/v1/messages/${id}`),
    /** All of it: as many requests as it has pages. */
    events: (id: string) =>
      Array.fromAsync(everyPage((query) => page<resource.AuditEntry>(call, `/v1/messages/${id}/events`, query))),
    /** All of it: as many requests as it has pages. */
    trace: (id: string) =>
      Array.fromAsync(everyPage((query) => page<resource.TraceEntry>(call, `/v1/messages/${id}/trace`, query))),
  };
}

function conversationCalls(call: Call) {
  const path = "/v1/conversations";
  type History = resource.PageQuery & { offset?: number; before_seq?: number; after_seq?: number };
  return {
    create: (body: resource.NewConversation) => bodyOf<resource.Conversation>(call, "POST", path, { body }),
    list: (query?: resource.ConversationQuery) => page<resource.ListedConversation>(call, path, query),
    get: (id: string) => bodyOf<resource.ListedConversation>(call, "GET", `${path}/${id}`),
    change: (id: string, body: Partial<Pick<resource.NewConversation, "title" | "settings" | "inbound">>) =>
      bodyOf<resource.Conversation>(call, "PATCH", `${path}/${id}`, { body }),
    addMember: (id: string, member: resource.MemberInput) =>
      bodyOf<resource.Conversation>(call, "POST", `${path}/${id}/members`, { body: { member } }),
    removeMember: (id: string, participantId: string) =>
      bodyOf<null>(call, "DELETE", `${path}/${id}/members/${participantId}`),
    /** Newest first, unless `after_seq` is given. */
    messages: (id: string, query?: History) => page<resource.Message>(call, `${path}/${id}/messages`, query),
    /** The caller has read everything up to here. */
    /** Null when every platform that shows read marks has taken them. */
    read: (id: string, seq: number) =>
      bodyOf<resource.NotShown | null>(call, "POST", `${path}/${id}/read`, { body: { seq } }),
    /** Null when every platform that can show typing does. */
    typing: (id: string) => bodyOf<resource.NotShown | null>(call, "POST", `${path}/${id}/typing`),
    capabilities: (id: string) => bodyOf<unknown>(call, "GET", `${path}/${id}/capabilities`),
  };
}

function contactCalls(call: Call) {
  const path = "/v1/contacts";
  type ContactFilter = { query?: string; address?: string; metadata_key?: string; metadata_value?: string };
  type NewContact = { display_name: string; addresses?: string[]; metadata?: Record<string, unknown> };
  return {
    create: (body: NewContact) => bodyOf<resource.Contact>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery & ContactFilter) => page<resource.Contact>(call, path, query),
    get: (id: string) => bodyOf<resource.Contact>(call, "GET", `${path}/${id}`),
    change: (id: string, body: Partial<NewContact>) =>
      bodyOf<resource.Contact>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    merge: (id: string, into: string) =>
      bodyOf<resource.Contact>(call, "POST", `${path}/${id}/merge`, { body: { into } }),
    addAddress: (id: string, address: string) =>
      bodyOf<resource.Contact>(call, "POST", `${path}/${id}/addresses`, { body: { address } }),
  };
}

function channelAccountCalls(call: Call) {
  const path = "/v1/channel-accounts";
  type NewAccount = {
    channel: string;
    name: string;
    credentials: Record<string, string>;
    settings?: resource.ChannelAccountSettings;
    /** False: the platform does not check the credentials. */
    verify?: boolean;
  };
  return {
    /** `webhook` says whether the platform was told where to call. */
    create: (body: NewAccount) =>
      bodyOf<resource.ChannelAccount & { webhook: resource.Said }>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery & { channel?: string }) => page<resource.ChannelAccount>(call, path, query),
    get: (id: string) => bodyOf<resource.ChannelAccount>(call, "GET", `${path}/${id}`),
    /** New credentials make an account active that needs attention. */
    change: (id: string, body: Partial<Omit<NewAccount, "channel">> & { status?: "active" | "disabled" }) =>
      bodyOf<resource.ChannelAccount>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    health: (id: string) => bodyOf<resource.ChannelAccountHealth>(call, "GET", `${path}/${id}/health`),
    verify: (id: string) => bodyOf<resource.Said & { webhook: resource.Said }>(call, "POST", `${path}/${id}/verify`),
  };
}

function deadLetterCalls(call: Call) {
  const path = "/v1/dead-letters";
  type Filter = { channel?: string; code?: string };
  return {
    list: (query?: resource.PageQuery & Filter) => page<resource.DeadLetter>(call, path, query),
    /** By the id of its delivery or webhook. */
    replay: (id: string) => bodyOf<{ replayed: number }>(call, "POST", `${path}/${id}/replay`),
    /** Oldest first, at most 1,000 in a call: repeat until `replayed` is 0. Needs a filter, or `all`. */
    replayAll: (body: Filter & { all?: true; dry_run?: boolean }) =>
      bodyOf<resource.ReplayResult>(call, "POST", `${path}/replay`, { body }),
    discard: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
  };
}

function webhookEndpointCalls(call: Call) {
  const path = "/v1/webhook-endpoints";
  type WithSecret = resource.WebhookEndpoint & { secret: string };
  type Range = { from: string; to?: string; events?: string[] };
  return {
    /** `secret` is shown this once. */
    create: (body: resource.NewWebhookEndpoint) => bodyOf<WithSecret>(call, "POST", path, { body }),
    list: (query?: resource.PageQuery) => page<resource.WebhookEndpoint>(call, path, query),
    get: (id: string) => bodyOf<resource.WebhookEndpoint>(call, "GET", `${path}/${id}`),
    change: (
      id: string,
      body: Partial<Omit<resource.NewWebhookEndpoint, "secret">> & { status?: "enabled" | "disabled" },
    ) => bodyOf<resource.WebhookEndpoint>(call, "PATCH", `${path}/${id}`, { body }),
    remove: (id: string) => bodyOf<null>(call, "DELETE", `${path}/${id}`),
    /** The secret before signs beside the new one for so long. */
    rotateSecret: (id: string, overlap_seconds?: number) =>
      bodyOf<WithSecret>(call, "POST", `${path}/${id}/rotate-secret`, {
        ...(overlap_seconds !== undefined && { body: { overlap_seconds } }),
      }),
    test: (id: string) => bodyOf<resource.WebhookAttempt>(call, "POST", `${path}/${id}/test`),
    /** Newest first. */
    attempts: (id: string, query?: resource.PageQuery & { status?: "succeeded" | "failed" }) =>
      page<resource.WebhookAttempt>(call, `${path}/${id}/attempts`, query),
    replayAttempt: (id: string, attemptId: string) =>
      bodyOf<{ replayed: number; webhook_id: string }>(call, "POST", `${path}/${id}/attempts/${attemptId}/replay`),
    /** The events of a time range: repeat from `next_from` while there is one. */
    replay: (id: string, body: Range) =>
      bodyOf<{ replayed: number; next_from: string | null }>(call, "POST", `${path}/${id}/replay`, { body }),
  };
}

function eventCalls(call: Call) {
  return {
    /** Oldest first; without `after`, from the oldest event that is kept. */
    list: (query: { after?: string; limit?: number } = {}) => bodyOf<EventPage>(call, "GET", "/v1/events", { query }),
  };
}

function operationCalls(call: Call) {
  return {
    isAlive: () => bodyOf<{ status: string }>(call, "GET", "/healthz", { isPublic: true }),
    readiness: () => bodyOf<{ status: string }>(call, "GET", "/readyz", { isPublic: true }),
  };
}
