import type { TObject } from "typebox";
import type { MessagePayload, PayloadType } from "../../../contract/src/payloads.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { HttpClient } from "../lib/http.ts";

/** The name of a kind of platform in the registry. The core knows no channel by name. */
export type Channel = string;

/** A connected number, page or bot, with its credentials in the clear. Never logged or stored. */
export interface ChannelAccount<Credentials = unknown> {
  readonly channelAccountId: string;
  readonly channel: Channel;
  readonly name: string;
  readonly credentials: Credentials;
  readonly settings: ChannelAccountSettings;
}

export interface ChannelAccountSettings {
  /** Without a trailing slash; default: the platform's own address. */
  readonly base_url?: string;
  /** Of the platform's API, if it has versions in its paths. */
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
  /** The receipts that the platform reports: a delivery ends at the last of these. */
  readonly receipts: readonly ("sent" | "delivered" | "read")[];
  readonly replies: boolean;
  /** Of one account, before the platform refuses. */
  readonly ratePerSecond: number;
  /** Hours after a person's last message in which free-form messages may be sent; null without such a window. */
  readonly windowHours: number | null;
  /**
   * How an attempt without an answer is settled: `receipt` waits for a receipt with our delivery id and retries after
   * the grace time; `resend` retries at once, and the message may appear twice.
   */
  readonly afterUnknown: "receipt" | "resend";
  /** Typing is shown at any time, or only in answer to a message of the person. */
  readonly typing: "always" | "answer" | "never";
  readonly readMarks: boolean;
}

/** Texts are split before. */
export interface OutboundPart {
  readonly deliveryId: string;
  /** 0-based; the quote goes with part 0. */
  readonly partIndex: number;
  /** In the form of the connector's `parseIdentifier`. */
  readonly identifier: string;
  readonly payload: MessagePayload;
  /** The platform's id of the quoted message in this lane, if the quote can be shown. */
  readonly quotedProviderMessageId: string | null;
  /** For a reaction: the platform's id of the message reacted to, in this lane. */
  readonly targetProviderMessageId: string | null;
}

/** A signal for a person about one of their messages, by the platform's id; null if unknown. */
export interface PersonSignal {
  /** In the form of the connector's `parseIdentifier`. */
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
  | "PLATFORM_REFUSED"
  | "CHANNEL_ACCOUNT_GONE";

export type AccountProblem = "CREDENTIALS_INVALID" | "ACCOUNT_RESTRICTED";

export type SendOutcome =
  | { kind: "sent"; providerMessageId: string; exchange?: Exchange }
  /** Final: a dead letter at once. Says nothing about the account. */
  | { kind: "refused"; reason: RefusalReason; detail: string; exchange?: Exchange }
  /**
   * The platform refuses the account: nothing was sent, and no other attempt would succeed. The messages wait until the
   * account is repaired.
   */
  | { kind: "account_refused"; reason: AccountProblem; detail: string; exchange?: Exchange }
  /**
   * Nothing was sent. `afterMs` is the platform's own wait, a minimum; `scope` says what must wait. `platformFault`
   * counts against the circuit breaker.
   */
  | {
      kind: "retry";
      afterMs: number | null;
      scope: "lane" | "account";
      platformFault: boolean;
      detail: string;
      exchange?: Exchange;
    }
  /** The request may have arrived: there was no answer. */
  | { kind: "unknown"; detail: string; exchange?: Exchange };

/** Not verified yet. */
export interface WebhookRequest {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly rawBody: Buffer;
}

/**
 * An event in a webhook. `at` is in Unix milliseconds by the platform's clock, 0 without a plausible time. Texts have
 * no U+0000 and no lone surrogates, so that any database takes them.
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
      /** Of the quoted message, or of the target of a reaction. */
      quotedProviderMessageId: string | null;
      at: number;
    }
  | {
      kind: "receipt";
      providerMessageId: string;
      /** Our delivery id, if the platform returns it. */
      deliveryId: string | null;
      /** The part of that delivery; omitted without a delivery id. */
      partIndex?: number;
      status: "sent" | "delivered" | "read" | "failed";
      error: { reason: RefusalReason; detail: string } | null;
      at: number;
    }
  /** Stored with the raw body, answered 200, without effect. */
  | { kind: "ignored"; what: string };

export interface ConnectorIo {
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Of one request. */
  readonly timeoutMs: number;
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
  /** The platform's public id of the account (number, bot). Not secret. Pure. */
  externalId(credentials: Credentials): string;
  /** The answer to the GET handshake of the platform; null refuses it. Pure; absent without a handshake. */
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
  /** Shows typing: `sent` when the platform accepted it. As `send`; absent where `typing` is `never`. */
  showTyping?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /** Marks this message and all earlier ones as read. As `send`; absent without `readMarks`. */
  markRead?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /**
   * Checks the credentials with the platform. `isRefused`: the platform refuses them for good; `isTokenRefused`: it
   * refuses the token itself, so that nothing can be sent.
   */
  check(
    account: ChannelAccount<Credentials>,
    io: ConnectorIo,
  ): Promise<{ ok: boolean; isRefused?: boolean; isTokenRefused?: boolean; detail: string }>;
  /** Sets the webhook address on the platform. Safe to call twice. Absent where an operator must do it. */
  subscribe?(
    account: ChannelAccount<Credentials>,
    webhookUrl: string,
    io: ConnectorIo,
  ): Promise<{ ok: boolean; detail: string }>;
}
