import { Fifo } from "../collections.ts";
import type { WebhookEvent } from "./event.ts";
import { isExpired, postWebhook, type Sender, type SenderParts } from "./post.ts";

/** Events in one POST at most. The real WhatsApp sends up to 1000. */
const maxBatchEvents = 200;

/** POSTs of new events start at least this far apart unless a batch is full: an idle account's event is sent at once. */
const lingerMs = 25;

interface Batch {
  events: WebhookEvent[];
  failures: number;
}

/**
 * Sends the events of an account in batches, several POSTs under way at once.
 * A refused batch is tried again as it was, later; newer ones do not wait for it.
 */
export class BatchSender implements Sender {
  readonly #parts: SenderParts;
  readonly #waiting = new Fifo<WebhookEvent>();
  readonly #retries = new Fifo<Batch>();
  #underWay = 0;
  #lastStart = Number.NEGATIVE_INFINITY;
  #isPlanned = false;
  #generation = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  push(event: WebhookEvent): void {
    this.#waiting.add(event);
    if (this.#underWay < this.#limit()) this.#wake();
  }

  retarget(): void {
    this.#wake();
  }

  clear(): void {
    this.#generation += 1;
    this.#isPlanned = false;
    this.#waiting.clear();
    this.#retries.clear();
  }

  #limit(): number {
    return this.#parts.rules.inFlight(this.#parts.account());
  }

  /** Plans one start: at once after a quiet moment, else when the linger is over. */
  #wake(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const born = this.#generation;
    const run = () => {
      if (born === this.#generation) this.#start();
    };
    const waitMs = this.#retries.size > 0 ? 0 : this.#lastStart + lingerMs - this.#parts.now();
    if (waitMs <= 0) setImmediate(run);
    else setTimeout(run, waitMs).unref();
  }

  #start(): void {
    this.#isPlanned = false;
    const limit = this.#limit();
    while (this.#underWay < limit) {
      const batch = this.#retries.take(1)[0] ?? this.#next();
      if (!batch) return;
      void this.#send(batch);
    }
  }

  #next(): Batch | undefined {
    if (this.#waiting.size === 0) return undefined;
    const now = this.#parts.now();
    if (this.#waiting.size < maxBatchEvents && now - this.#lastStart < lingerMs) {
      this.#wake();
      return undefined;
    }
    this.#lastStart = now;
    return { events: this.#waiting.take(maxBatchEvents), failures: 0 };
  }

  async #send(batch: Batch): Promise<void> {
    const parts = this.#parts;
    const events = batch.events.filter(parts.isPending);
    const url = parts.account().webhookUrl;
    const expired = url === undefined ? events : events.filter((event) => isExpired(parts, event));
    if (expired.length > 0) parts.finish(expired);
    const live = events.filter((event) => !expired.includes(event));
    if (live.length === 0 || url === undefined) return;

    const born = this.#generation;
    this.#underWay += 1;
    const outcome = await postWebhook(parts, url, live, batch.failures);
    this.#underWay -= 1;
    if (born !== this.#generation) return this.#wake();
    if (outcome.kind === "accepted") parts.finish(live);
    else this.#retryIn(outcome.retryAfterMs, { events: live, failures: batch.failures + 1 });
    if (this.#waiting.size > 0 || this.#retries.size > 0) this.#wake();
  }

  #retryIn(waitMs: number, batch: Batch): void {
    const born = this.#generation;
    this.#parts.at(this.#parts.now() + waitMs, () => {
      if (born !== this.#generation) return;
      this.#retries.add(batch);
      this.#wake();
    });
  }
}
