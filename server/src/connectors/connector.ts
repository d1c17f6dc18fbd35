import type { TObject } from "typebox";
import type { MessagePayload, PayloadType } from "../../../contract/src/payloads.ts";
import type { Clock, Random } from "../lib/clock.ts";
import type { HttpClient } from "../lib/http.ts";

/** A kind of platform, as the registry names it. The core knows no channel by name. */
export type Channel = string;

/** One connected number, page or bot, with its credentials unsealed. Never logged, never stored. */
export interface ChannelAccount<Credentials = unknown> {
  readonly channelAccountId: string;
  readonly channel: Channel;
  readonly name: string;
  readonly credentials: Credentials;
  readonly settings: ChannelAccountSettings;
}

export interface ChannelAccountSettings {
  /** Where the platform answers, without a trailing slash; the platform's own address when left out. */
  readonly base_url?: string;
  /** Version segment of the platform's API, where it has one. */
  readonly api_version?: string;
  /** The template for one-time codes to people who have not written recently; its only parameter is the code. */
  readonly verification_template?: { readonly name: string; readonly language: string };
  /** Requests a second to the platform from this account; the connector's own figure when left out. */
  readonly rate_per_second?: number;
}

/** What the router, the console and `GET …/capabilities` need to know of a channel. Data, never behaviour. */
export interface Capabilities {
  readonly payloads: readonly PayloadType[];
  /** Longest text of one platform message, in UTF-16 code units. A longer text is split, in order, never cut. */
  readonly maxTextLength: number;
  /** How far the platform's word goes: a delivery ends at the last of these. */
  readonly receipts: readonly ("sent" | "delivered" | "read")[];
  /** Whether a quote of another message is shown. */
  readonly replies: boolean;
  /** Requests a second that one account may make before the platform refuses. */
  readonly ratePerSecond: number;
  /** How long after a person's last message free-form messages may be sent; null where there is no such window. */
  readonly windowHours: number | null;
  /**
   * How an attempt without an answer is settled: by a receipt that carries our delivery id back (wait for it, then try
   * again once the grace is over), or not at all (try again, and accept that the message may appear twice).
   */
  readonly afterUnknown: "receipt" | "resend";
  /** Whether the channel shows typing: at any time, or only in answer to a message of the person. */
  readonly typing: "always" | "answer" | "never";
  /** Whether the channel shows people that their messages were read. */
  readonly readMarks: boolean;
}

/** One part to send: texts are split before they get here. */
export interface OutboundPart {
  readonly deliveryId: string;
  /** 0-based; the quote goes with part 0. */
  readonly partIndex: number;
  /** In the form of the connector's `parseIdentifier`. */
  readonly identifier: string;
  readonly payload: MessagePayload;
  /** The platform's id of the quoted message in this very lane, if the quote can be shown there. */
  readonly quotedProviderMessageId: string | null;
  /** For a reaction: the platform's id of the message reacted to, in this lane. */
  readonly targetProviderMessageId: string | null;
}

/**
 * The person to whom a signal is shown, and the platform's id of the message of theirs that it is about; null if
 * unknown.
 */
export interface PersonSignal {
  /** In the form of the connector's `parseIdentifier`. */
  readonly identifier: string;
  readonly messageId: string | null;
}

/** What is told of one request to a platform in the trace. Redacted: no credential, no message text. */
export interface Exchange {
  readonly request: { method: string; url: string; body?: unknown };
  readonly answer: { status: number; body?: unknown } | null;
}

/** Why a platform will never take this message; stable, shown to clients as the delivery's `error.code`. */
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

/** Why a platform refuses an account, independent of the message. */
export type AccountProblem = "CREDENTIALS_INVALID" | "ACCOUNT_RESTRICTED";

/** What one attempt came to. */
export type SendOutcome =
  | { kind: "sent"; providerMessageId: string; exchange?: Exchange }
  /** Will never work: a dead letter at once. Says nothing about the account. */
  | { kind: "refused"; reason: RefusalReason; detail: string; exchange?: Exchange }
  /**
   * The platform refuses the account: this attempt certainly did not happen, and no other would. The account needs
   * attention, and its messages wait until it is repaired.
   */
  | { kind: "account_refused"; reason: AccountProblem; detail: string; exchange?: Exchange }
  /**
   * Certainly did not happen. `afterMs` is the platform's own wait and is never undercut; `scope` says what must wait:
   * only this lane, or the whole account. `platformFault` counts against the circuit breaker.
   */
  | {
      kind: "retry";
      afterMs: number | null;
      scope: "lane" | "account";
      platformFault: boolean;
      detail: string;
      exchange?: Exchange;
    }
  /** May have happened: nothing came back after the request left. */
  | { kind: "unknown"; detail: string; exchange?: Exchange };

/** A call of the platform, before it is believed. */
export interface WebhookRequest {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The exact bytes that were signed. */
  readonly rawBody: Buffer;
}

/**
 * One thing that a webhook says happened. `at` is in Unix milliseconds by the platform's clock, 0 when it told none
 * that can be believed. Texts hold neither U+0000 nor half a surrogate pair: every store takes them.
 */
export type InboundEvent =
  | {
      kind: "message";
      /** The platform's id: the same id again is the same message. */
      providerMessageId: string;
      /** Who wrote, as an address identifier of this channel; the others name the same person. */
      identifier: string;
      aliases: string[];
      displayName: string | null;
      /** A reaction's `message_id` is empty: the core fills it in from `quotedProviderMessageId`. */
      payload: MessagePayload;
      /** The platform's id of the message it quotes, or reacts to. */
      quotedProviderMessageId: string | null;
      at: number;
    }
  | {
      kind: "receipt";
      providerMessageId: string;
      /** Our own delivery id, where the platform carries it back. */
      deliveryId: string | null;
      /** Which part of that delivery, where the platform carries it back; left out with `deliveryId` null. */
      partIndex?: number;
      status: "sent" | "delivered" | "read" | "failed";
      error: { reason: RefusalReason; detail: string } | null;
      at: number;
    }
  /** Kept with the webhook's raw body, answered 200, otherwise without effect. */
  | { kind: "ignored"; what: string };

/** What a connector may use of the outside world. */
export interface ConnectorIo {
  readonly http: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Bound of one request to the platform. */
  readonly timeoutMs: number;
}

/**
 * What the hub asks of a channel. One object for each; it only translates: the core stores, retries, orders and limits.
 */
export interface Connector<Credentials = unknown> {
  readonly channel: Channel;
  /** Shape of `credentials` in `POST /v1/channel-accounts`, unknown fields refused. */
  readonly credentials: TObject;
  readonly capabilities: Capabilities;
  /** What `parseIdentifier` accepts, as the end of the sentence "an address of this channel is …". */
  readonly identifierRule: string;
  /** The identifier in the one form under which it is stored, or null when it cannot be one of this channel. Pure. */
  parseIdentifier(identifier: string): string | null;
  /** The platform's public name of the account (number id, bot id): shown, never secret. Pure. */
  externalId(credentials: Credentials): string;
  /** The answer to the platform's GET handshake, or null to refuse it. Pure; absent where there is no handshake. */
  handshake?(query: Readonly<Record<string, string | undefined>>, credentials: Credentials): string | null;
  /** Did this platform sign this body? Pure, in constant time. */
  verify(request: WebhookRequest, credentials: Credentials): boolean;
  /**
   * Everything the body says happened, oldest first. Pure; never throws: what it cannot read becomes `ignored`. Where
   * there may be many, each is read when it is asked for, so that the caller can pause in between.
   */
  parse(request: WebhookRequest, credentials: Credentials): Iterable<InboundEvent>;
  /**
   * One attempt at one part. Does not retry, does not store; never throws for what the platform or the network does.
   */
  send(part: OutboundPart, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /**
   * Shows the person that somebody is typing: `sent` when the platform took it. As `send`. Absent where `typing` is
   * `never`.
   */
  showTyping?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /** Shows the person that this message and all earlier ones were read. As `send`. Absent without `readMarks`. */
  markRead?(to: PersonSignal, account: ChannelAccount<Credentials>, io: ConnectorIo): Promise<SendOutcome>;
  /**
   * Asks the platform whether the credentials work. `isRefused`: the platform refuses them, and will again;
   * `isTokenRefused`: it refuses the token itself, so that nothing can be sent.
   */
  check(
    account: ChannelAccount<Credentials>,
    io: ConnectorIo,
  ): Promise<{ ok: boolean; isRefused?: boolean; isTokenRefused?: boolean; detail: string }>;
  /**
   * Tells the platform where to call. Safe to call twice. Absent where an operator must do it on the platform's site.
   */
  subscribe?(
    account: ChannelAccount<Credentials>,
    webhookUrl: string,
    io: ConnectorIo,
  ): Promise<{ ok: boolean; detail: string }>;
}
