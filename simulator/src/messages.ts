import { PairMap } from "./collections.ts";
import type { Media } from "./media/media-store.ts";

/** How many received messages are kept, at least; the oldest are forgotten first. */
export const keptMessages = 200_000;

/** How many may pile up above that before the oldest are cut in one go. */
const slack = 10_000;

/** The media of a message. Of a link, all but the caption is `null` until the platform has fetched it. */
export interface ReceivedMedia {
  /** For `GET /_sim/media/{media_id}`. */
  media_id: string | null;
  mime_type: string | null;
  filename: string | null;
  bytes: number | null;
  /** Lower-case hex. */
  sha256: string | null;
  caption: string | null;
}

export interface ReceivedMessage {
  channel: string;
  account: string;
  to: string;
  provider_message_id: string;
  /** The platform's name for it: `text`, `image`, `location`, `reaction` … */
  kind: string;
  text: string | null;
  media: ReceivedMedia | null;
  raw: unknown;
  received_at: string;
}

/** A received message at rest: already JSON, with what it is looked up by beside it. */
export interface StoredMessage {
  /** 1, 2, 3 … over all platforms, never reused. */
  readonly index: number;
  readonly channel: string;
  readonly account: string;
  readonly to: string;
  readonly key: string;
  readonly json: string;
}

export interface MessageQuery {
  channel: string | undefined;
  to: string | undefined;
  after: number;
  limit: number;
}

export class Messages {
  #stored: StoredMessage[] = [];
  /** Filled by look-ups, not by `add`: load tests look nothing up. */
  readonly #byKey = new PairMap<StoredMessage>();
  #indexedUpTo = 0;
  #nextIndex = 1;
  #forgotten = 0;

  get nextIndex(): number {
    return this.#nextIndex;
  }

  get forgotten(): number {
    return this.#forgotten;
  }

  get size(): number {
    return this.#stored.length;
  }

  add(message: StoredMessage): void {
    this.#stored.push(message);
    this.#nextIndex = message.index + 1;
    if (this.#stored.length > keptMessages + slack) this.#cut();
  }

  has({ index }: StoredMessage): boolean {
    return this.#stored[this.#positionAfter(index - 1)]?.index === index;
  }

  /** Puts the message in place of the one with its index; `false` when there is none. */
  replace(message: StoredMessage): boolean {
    if (!this.has(message)) return false;
    this.#stored[this.#positionAfter(message.index - 1)] = message;
    if (message.index <= this.#indexedUpTo) this.#byKey.set(message.channel, message.key, message);
    return true;
  }

  skipTo(index: number): void {
    this.#nextIndex = Math.max(this.#nextIndex, index);
  }

  find(channel: string, key: string): StoredMessage | undefined {
    for (let i = this.#positionAfter(this.#indexedUpTo); i < this.#stored.length; i++) {
      const message = this.#stored[i]!;
      this.#byKey.set(message.channel, message.key, message);
      this.#indexedUpTo = message.index;
    }
    return this.#byKey.get(channel, key);
  }

  list(query: MessageQuery): { messages: StoredMessage[]; nextAfter: number } {
    const messages: StoredMessage[] = [];
    let nextAfter = query.after;
    for (let i = this.#positionAfter(query.after); i < this.#stored.length && messages.length < query.limit; i++) {
      const message = this.#stored[i]!;
      nextAfter = message.index;
      if (query.channel !== undefined && message.channel !== query.channel) continue;
      if (query.to !== undefined && message.to !== query.to) continue;
      messages.push(message);
    }
    return { messages, nextAfter };
  }

  lastTo(channel: string, to: string): StoredMessage | undefined {
    return this.#stored.findLast((message) => message.to === to && message.channel === channel);
  }

  latest(count: number): StoredMessage[] {
    return this.#stored.slice(-count).reverse();
  }

  all(): Iterable<StoredMessage> {
    return this.#stored;
  }

  clear(): void {
    this.#stored = [];
    this.#byKey.clear();
    this.#forgotten = 0;
  }

  #cut(): void {
    const old = this.#stored.splice(0, this.#stored.length - keptMessages);
    for (const message of old) {
      const { channel, key } = message;
      if (this.#byKey.get(channel, key) === message) this.#byKey.delete(channel, key);
    }
    this.#forgotten += old.length;
  }

  #positionAfter(index: number): number {
    let low = 0;
    let high = this.#stored.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#stored[middle]!.index <= index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export function mediaOf(media: Media | undefined, caption: string | null, filename?: string | null): ReceivedMedia {
  const { id = null, mime_type = null, bytes = null, sha256 = null } = media ?? {};
  return { media_id: id, mime_type, filename: filename ?? media?.filename ?? null, bytes, sha256, caption };
}

export function readMessage(stored: StoredMessage): ReceivedMessage {
  return JSON.parse(stored.json) as ReceivedMessage;
}
