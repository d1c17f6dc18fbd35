import type { Readable } from "node:stream";
import type { TObject } from "typebox";
import type { MessagePayload, PayloadType } from "../../../contract/src/payloads.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { HttpClient, HttpReader } from "../lib/http.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { MediaKind, PlatformFile } from "./media.ts";

export type Channel = string;

/** A connected number, page or bot, with its credentials in the clear. Never logged or stored. */
export interface ChannelAccount<Credentials = unknown> {
  readonly channelAccountId: ChannelAccountId;
  readonly channel: Channel;
  readonly name: string;
  readonly credentials: Credentials;
  readonly settings: ChannelAccountSettings;
}

export interface ChannelAccountSettings {
  /** Without a trailing slash; default: the platform's own URL. */
  readonly base_url?: string;
  readonly api_version?: string;
  /** For one-time codes to people who have not written recently; its only parameter is the code. */
  readonly verification_template?: { readonly name: string; readonly language: string };
  /** To the platform; default: the connector's own limit. */
  readonly rate_per_second?: number;
}

/** What the core and `GET …/capabilities` must know about a channel. Data, never behaviour. */
export interface Capabilities {
  readonly payloads: readonly PayloadType[];
  /** In UTF-16 code units. A longer text is split in order, never cut. */
  readonly maxTextLength: number;
  /** In which it takes files, in the order of preference; what none takes is sent as a link. */
  readonly media: readonly MediaKind[];
  /** The receipts that the platform reports: a delivery ends at the last of these. */
  readonly receipts: readonly ("sent" | "delivered" | "read")[];
  readonly replies: boolean;
  readonly ratePerSecond: number;
  /** Since the last message of a person, for free-form messages; null without such a window. */
  readonly windowHours: number | null;
  /** `receipt`: wait for a receipt with our delivery id, then retry. `resend`: the message may appear twice. */
  readonly afterUnknown: "receipt" | "resend";
  readonly typing: "always" | "answer" | "never";
  readonly readMarks: boolean;
}

export interface OutboundPart {
  readonly deliveryId: string;
  /** 0-based; the quote goes with part 0. */
  readonly partIndex: number;
  readonly identifier: string;
  readonly payload: MessagePayload;
  /** The platform's ids, in this lane, of the quoted message and of the message reacted to. */
  readonly quotedProviderMessageId: string | null;
  readonly targetProviderMessageId: string | null;
  /** With a payload of the type `file`, whose caption is no longer than the kind takes. */
  readonly file?: OutboundFile;
}

export interface OutboundFile {
  readonly filename: string;
  readonly contentType: string;
  readonly bytes: number;
  /** One of `capabilities.media`. */
  readonly kind: string;
  /** The bytes, from the first one. */
  open(): Promise<Readable>;
}

/** About a message of the person, by the platform's id; null if unknown. */
export interface PersonSignal {
  readonly identifier: string;
  readonly messageId: string | null;
}

/** One request to a platform in the trace, without credentials and message text. */
export interface Exchange {
  readonly request: { method: string; url: string; body?: unknown };
  readonly answer: { status: number; body?: unknown } | null;
}

/** Why a platform refuses a message for good. Stable: the `error.code` of the delivery. */
export type RefusalReason =
  | AccountProblem
  | "INVALID_RECIPIENT"
  | "RECIPIENT_UNREACHABLE"
  | "RECIPIENT_BLOCKED"
  | "WINDOW_CLOSED"
  | "PAYLOAD_NOT_SUPPORTED"
  | "PAYLOAD_INVALID"
  | "TEMPLATE_INVALID"
  | "FILE_GONE"
  | "PLATFORM_REFUSED"
  | "CHANNEL_ACCOUNT_GONE";

export type AccountProblem = "CREDENTIALS_INVALID" | "ACCOUNT_RESTRICTED";

export type SendOutcome =
  | { kind: "sent"; providerMessageId: string; exchange?: Exchange }
  /** Final: a dead letter at once. Says nothing about the account. `isOfFile`: a link can be sent instead. */
  | { kind: "refused"; reason: RefusalReason; detail: string; isOfFile?: boolean; exchange?: Exchange }
  /** Nothing was sent. All messages of the account wait until it is repaired. */
  | { kind: "account_refused"; reason: AccountProblem; detail: string; exchange?: Exchange }
  /**
   * Nothing was sent. `afterMs`: the least wait of the lane or the account, by the platform. Null: the lane waits by
   * its own backoff, and so does the account if it is throttled. `platformFault`: the circuit breaker counts it.
   */
  | {
      kind: "retry";
      afterMs: number | null;
      scope: "lane" | "account";
      platformFault: boolean;
      detail: string;
      exchange?: Exchange;
    }
  /** The message may have been sent. */
  | { kind: "unknown"; detail: string; exchange?: Exchange };

export interface WebhookRequest {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly rawBody: Buffer;
}

/**
 * `at`: Unix milliseconds by the platform's clock, 0 without a plausible time. Texts have no U+0000 and no lone
 * surrogates, so that any database takes them.
 */
export type InboundEvent =
  | {
      kind: "message";
      /** The platform's id: equal ids are the same message. */
      providerMessageId: string;
      /** The sender, as an address identifier of this channel; `aliases` are the same person. */
      identifier: string;
      aliases: string[];
      displayName: string | null;
      /** The `message_id` of a reaction is empty: the core sets it from `quotedProviderMessageId`. */
      payload: MessagePayload;
      /** What the message carries beside its payload; absent without a file. */
      file?: PlatformFile;
      quotedProviderMessageId: string | null;
      at: number;
    }
  | {
      kind: "receipt";
      providerMessageId: string;
      deliveryId: string | null;
      partIndex?: number;
      status: "sent" | "delivered" | "read" | "failed";
      error: { reason: RefusalReason; detail: string } | null;
      at: number;
    }
  | { kind: "ignored"; what: string };

/** `retry`: the platform or the network failed. `gone`: the platform does not give the file out, or not any more. */
export type FetchedFile =
  | { kind: "open"; body: Readable; checksum: string | null }
  | { kind: "retry"; afterMs: number | null; detail: string }
  | { kind: "gone"; detail: string };

export interface ConnectorIo {
  readonly http: HttpClient;
  readonly read: HttpReader;
  readonly clock: Clock;
  readonly random: Random;
  /** For a request without a file. */
  readonly timeoutMs: number;
}

export interface AccountAnswer {
  ok: boolean;
  /** The platform refuses the credentials for good. */
  isRefused?: boolean;
  /** It refuses the token itself: nothing can be sent. */
  isTokenRefused?: boolean;
  detail: string;
}

/** One object for each channel. It translates; the core stores, retries, orders and limits. */
export interface Connector<Credentials = unknown> {
  readonly channel: Channel;
  /** The schema of `credentials` in `POST /v1/channel-accounts`, without unknown fields. */
  readonly credentials: TObject;
  readonly capabilities: Capabilities;
  /** The end of the sentence "an address of this channel is …". */
  readonly identifierRule: string;
  /** The stored form, or null for an identifier that cannot be of this channel. Pure. */
  parseIdentifier(identifier: string): string | null;
  /** The platform's public id of the account (number, bot). Pure. */
  externalId(credentials: Credentials): string;
  /** The response to the GET handshake of the platform; null refuses it. Pure; absent without a handshake. */
  handshake?(query: Readonly<Record<string, string | undefined>>, credentials: Credentials): string | null;
  /** Whether the platform signed this body. Pure, in constant time. */
  verify(request: WebhookRequest, credentials: Credentials): boolean;
  /**
   * All events of the body, oldest first. Pure; never throws: what it cannot read is `ignored`. A long body is read
   * while iterating, so that the caller can pause.
   */
  parse(request: WebhookRequest, credentials: Credentials): Iterable<InboundEvent>;
  /** One attempt. Does not retry or store; never throws for the platform or the network. */
  send(part: OutboundPart, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /** Of a message of a person, by its `reference`. Absent where people send no files. Never throws for the platform. */
  openFile?(
    reference: string,
    account: ChannelAccount<Credentials>,
    io: ConnectorIo,
    signal: AbortSignal,
  ): Promise<FetchedFile>;
  /** As `send`; absent where `typing` is `never`. */
  showTyping?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /** This message and all earlier ones. Absent without `readMarks`. */
  markRead?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  check(account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<AccountAnswer>;
  /** Sets the webhook's URL on the platform. Safe to call twice. Absent where an operator must do it. */
  subscribe?(account: ChannelAccount<Credentials>, webhookUrl: string, io: ConnectorIo): Promise<AccountAnswer>;
}
