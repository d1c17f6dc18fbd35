/** What the hub takes and tells, as the contract names it. Times are ISO 8601 in UTC. */

export type MessageStatus = "accepted" | "in_transit" | "sent" | "delivered" | "read" | "failed";
export type Role = "member" | "agent" | "admin";

export type Payload =
  | { type: "text"; text: string }
  | { type: "file"; file_id: string; caption?: string }
  | { type: "location"; latitude: number; longitude: number; name?: string }
  | { type: "template"; name: string; language: string; parameters: string[] | Record<string, string> }
  | { type: "reaction"; message_id: string; emoji: string };

/** What `POST /v1/messages` takes: exactly one of `conversation_id` and `to`. */
export interface NewMessage {
  /** The idempotency key: send it again until an answer comes, and there is one message. */
  message_id?: string;
  conversation_id?: string;
  /** An address, such as `whatsapp:+5511999991111`. */
  to?: string;
  from?: string;
  payload: Payload;
  channels?: string[];
  via?: Record<string, string>;
  reply_to?: string;
  fallback?: { order: string[]; after_seconds?: number };
  metadata?: Record<string, unknown>;
}

export interface AcceptedMessage {
  message_id: string;
  conversation_id: string;
  seq: number;
  status: "accepted";
  created_at: string;
}

export type BatchResult =
  | (AcceptedMessage & { error?: undefined })
  | { message_id: string | null; error: { code: string; message: string; details: Record<string, unknown> } };

export interface Delivery {
  delivery_id: string;
  recipient: string;
  channel: string;
  address: string | null;
  channel_account_id: string | null;
  status: MessageStatus;
  provider_message_id: string | null;
  /** One for each part of a text that was split. */
  provider_message_ids: string[];
  attempts: number;
  error: { code: string; message: string } | null;
  next_attempt_at: string | null;
  sent_at: string | null;
  delivered_at: string | null;
  read_at: string | null;
  failed_at: string | null;
}

export interface Message {
  message_id: string;
  conversation_id: string;
  seq: number;
  from: string;
  direction: "outbound" | "inbound";
  payload: Payload;
  channels: string[] | null;
  reply_to: string | null;
  /** Why an inbound message landed in this conversation. */
  route: "quoted" | "last_used" | "private" | null;
  status: MessageStatus;
  metadata: Record<string, unknown> | null;
  created_at: string;
  deliveries: Delivery[];
}

export interface AuditEntry {
  at: string;
  status: MessageStatus;
  delivery_id: string | null;
  channel: string | null;
  cause: string;
}

/** One thing that happened to a message; `what` says which further fields there are. */
export interface TraceEntry {
  at: string;
  what: string;
  [detail: string]: unknown;
}

/** A delivery that failed for good, a message that could not be routed, or a webhook that could not be read. */
export type DeadLetter = FailedDelivery | FailedWebhook;
export type FailedDelivery = Delivery & { kind: "delivery" | "message"; message_id: string; conversation_id: string };
export interface FailedWebhook {
  kind: "webhook";
  webhook_id: string;
  channel: string;
  channel_account_id: string;
  status: "failed";
  error: { code: string; message: string };
  received_at: string;
  failed_at: string;
}

export interface ReplayResult {
  replayed: number;
  dry_run: boolean;
  matching: { channel: string; code: string; count: number }[];
}

export interface Participant {
  participant_id: string;
  kind: "user" | "contact" | "workspace";
  display_name: string;
  /** Channels on which the participant has an address. */
  channels: string[];
  /** Empty for a caller with the role member, except for its own. */
  addresses: string[];
}

export interface Conversation {
  conversation_id: string;
  type: "private" | "group";
  title: string | null;
  members: Participant[];
  last_seq: number;
  settings: { author_prefix: boolean };
  /** For a group: whether unquoted messages of its members on platforms may land in it. */
  inbound: "here" | "quoted" | null;
  /** After a merge of contacts: the other private conversation of the same two, which is used from then on. */
  continued_in: string | null;
  created_at: string;
  /** When its last message was accepted. */
  updated_at: string;
}

/** A conversation in lists and `GET`, for the caller. */
export interface ListedConversation extends Conversation {
  last_message: Pick<Message, "message_id" | "seq" | "from" | "direction" | "payload" | "created_at"> | null;
  /** Null when the caller is no member. */
  unread_count: number | null;
}

export interface ConversationQuery extends PageQuery {
  contact_id?: string;
  participant_id?: string;
  channel?: string;
  updated_after?: string;
  sort?: "activity" | "created";
}

/** The id of a participant, or an address; an unknown address makes a contact. */
export type MemberInput = string | { address: string; display_name?: string };

export interface NewConversation {
  type: "private" | "group";
  title?: string | null;
  settings?: { author_prefix?: boolean };
  inbound?: "here" | "quoted";
  members: MemberInput[];
}

export interface Contact {
  contact_id: string;
  display_name: string;
  addresses: string[];
  metadata: Record<string, unknown>;
  created_at: string;
}

export interface User {
  user_id: string;
  workspace_id: string;
  username: string;
  email: string;
  display_name: string;
  role: Role;
  disabled: boolean;
  created_at: string;
  /** Of one user, for admins and for the user. */
  addresses?: string[];
}

/** The caller and its credential. */
export interface Me extends User {
  addresses: string[];
  preferred_model: string | null;
  llm_api_key_configured: boolean;
  credential: { kind: "session" | "api_key"; scopes: string[]; api_key: ApiKey | null };
}

export interface ApiKey {
  api_key_id: string;
  name: string;
  /** Its beginning and end. */
  key_hint: string;
  scopes: string[];
  created_by: string;
  /** The API key that made this one; null: a user. It ends with that key, and shares its limit. */
  parent_id: string | null;
  created_at: string;
  expires_at: string | null;
  rate_limit: RateLimit | null;
  last_used_at: string | null;
}

/** Requests on average, and at once after a pause. */
export interface RateLimit {
  per_second: number;
  burst: number;
}

export interface Workspace {
  workspace_id: string;
  name: string;
  created_at: string;
}

/** A person to whom a read mark or typing is not shown. */
export interface NotShown {
  not_shown: {
    participant_id: string | null;
    channel: string;
    channel_account_id: string;
    code: string;
    /** Whether the hub retries until the platform takes it. */
    is_retried: boolean;
  }[];
}

/** `needs_attention`: the platform refuses the account, and messages to be sent over it wait. */
export type ChannelAccountStatus = "active" | "disabled" | "needs_attention";

export interface ChannelAccount {
  channel_account_id: string;
  channel: string;
  name: string;
  status: ChannelAccountStatus;
  /** Null unless the account needs attention. */
  attention: { reason: "CREDENTIALS_INVALID" | "ACCOUNT_RESTRICTED"; detail: string; since: string } | null;
  webhook_url: string;
  settings: ChannelAccountSettings;
  external_id: string;
  created_at: string;
}

export interface ChannelAccountSettings {
  base_url?: string;
  api_version?: string;
  rate_per_second?: number;
}

/** What a platform said when it was asked something. */
export interface Said {
  ok: boolean;
  detail: string;
}

export interface ChannelAccountHealth {
  status: ChannelAccountStatus;
  breaker: "closed" | "open" | "half_open";
  last_error: { detail: string; at: string } | null;
  rate_per_second: number;
  in_flight: number;
  parked_lanes: number;
  pending: number;
}

export interface NewWebhookEndpoint {
  url: string;
  /** Types such as `message.received`; `message.status` stands for the five of deliveries, `*` for all. */
  events: string[];
  description?: string | null;
  /** One event after the other, in the order of the feed. */
  ordered?: boolean;
  secret?: string;
}

export interface WebhookEndpoint {
  webhook_endpoint_id: string;
  url: string;
  events: string[];
  description: string | null;
  ordered: boolean;
  status: "enabled" | "disabled";
  disabled_at: string | null;
  disabled_reason: "requested" | "gone" | "failing" | "maker_lost_access" | null;
  failing_since: string | null;
  old_secret_until: string | null;
  /** The user who made or enabled it last, or changed its address or events; null for an old endpoint. */
  made_by: string | null;
  /** The API key by which that was done; null for a logged-in user. */
  made_by_key_id: string | null;
  created_at: string;
}

export interface WebhookAttempt {
  attempt_id: string;
  webhook_endpoint_id: string;
  /** The header `webhook-id`: the same in every attempt of an event. */
  webhook_id: string;
  event: string;
  number: number;
  status: "succeeded" | "failed";
  status_code: number | null;
  error: string | null;
  answer: string | null;
  started_at: string;
  duration_ms: number;
  next_attempt_at: string | null;
}

export interface Tokens {
  access_token: string;
  refresh_token: string;
  token_type: "Bearer";
  /** Seconds. */
  expires_in: number;
}

export interface Page<Item> {
  data: Item[];
  next_cursor: string | null;
}

export interface PageQuery {
  limit?: number;
  cursor?: string;
}
