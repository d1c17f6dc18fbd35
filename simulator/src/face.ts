import type { FastifyInstance } from "fastify";
import type { Account } from "./accounts.ts";
import type { FaultName } from "./faults.ts";
import type { Upload } from "./media/media-store.ts";
import type { StoredMessage } from "./messages.ts";
import type { ChannelSettings } from "./settings.ts";
import type { WebhookEvent, WebhookRules } from "./webhooks/event.ts";
import type { World } from "./world.ts";

/** One platform. Registered in `faces.ts`, mounted under `/<channel>`. */
export interface Face {
  readonly channel: string;
  readonly methods: readonly string[];
  readonly faults: readonly FaultName[];
  readonly settings: Partial<ChannelSettings>;
  checkSettings(settings: Partial<ChannelSettings>): void;
  /** An account from outside, defaults filled in; throws a `Problem` that names what is wrong. */
  readAccount(input: unknown): Account;
  /**
   * The one spelling of a person's identifier that `to` shows: `whatsapp:+55…`, `+55…` and `55…` are one person.
   * `undefined` when the text cannot be an identifier of this platform.
   */
  person(text: string): string | undefined;
  open(world: World): OpenFace;
}

export interface OpenFace {
  readonly webhooks: WebhookRules;
  /** Adds the platform's own API to a server that is already prefixed and encapsulated. */
  serve(app: FastifyInstance): void;
  /** A person does something; the webhook is on its way when this returns. Throws a `Problem` when it cannot be. */
  inbound(account: Account, input: Inbound): Record<string, unknown> | Promise<Record<string, unknown>>;
  receipt(message: StoredMessage, receipt: Receipt): void;
  block(account: Account, person: string, blocked: boolean): void;
  /** Makes the URLs of this file, or of all files, expire now; what they name stays. */
  expireUrls(mediaId: string | undefined): void;
  /** The webhooks that a stored message promised when it was accepted: read back from the journal. */
  promised(message: StoredMessage, firstNumber: number, promise: unknown): WebhookEvent[];
  /** Takes note of a message or webhook from an earlier run, so that no id is given twice. */
  remember(seen: { message: StoredMessage } | { webhook: WebhookEvent }): void;
  /** What must outlive a restart besides messages, webhooks and accounts; JSON. */
  saveState(): unknown;
  restoreState(state: unknown): void;
  /** Forgets people's blocks and windows; never the counters that keep ids unique. */
  reset(): void;
}

export interface Inbound {
  person: string;
  name: string | undefined;
  payload: InboundPayload;
  replyTo: string | undefined;
}

export type InboundPayload =
  | { type: "text"; text: string }
  | { type: "location"; latitude: number; longitude: number; name?: string | undefined }
  | { type: "reaction"; message_id: string; emoji: string }
  | InboundFile;

/** The face keeps the upload, or leaves it to the caller to discard. */
export interface InboundFile {
  type: "file";
  content_type: string;
  filename?: string | undefined;
  caption?: string | undefined;
  upload: Upload;
}

/** A status by hand. `code` and `title` belong to `failed`. */
export interface Receipt {
  status: string;
  code: number | undefined;
  title: string | undefined;
  details: string | undefined;
}
