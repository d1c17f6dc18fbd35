import { Fifo } from "../collections.ts";
import type { WebhookEvent } from "./event.ts";
import { isExpired, postWebhook, type Sender, type SenderParts } from "./post.ts";

/** The events of one person. Only the first is ever under way; the others wait for it. */
interface Queue {
  person: string;
  events: Fifo<WebhookEvent>;
  failures: number;
}

/**
 * Sends the events of an account one a POST: a person's one after another, different people's side by side.
 * A refused event holds its own queue until it is accepted or expires. Without a webhook, events wait to be fetched.
 */
export class QueueSender implements Sender {
  readonly #parts: SenderParts;
  #all = new Set<WebhookEvent>();
  #queues = new Map<string, Queue>();
  readonly #ready = new Fifo<Queue>();
  readonly #listeners = new Set<() => void>();
  #underWay = 0;
  #generation = 0;
  #lastFailure: { at: number; reason: string } | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  get lastFailure(): { at: number; reason: string } | undefined {
    return this.#lastFailure;
  }

  push(event: WebhookEvent): void {
    if (this.#parts.account().webhookUrl !== undefined) {
      this.#all.add(event);
      this.#enqueue(event);
      this.#start();
    } else if (this.#parts.isPending(event)) {
      this.#all.add(event);
      for (const job of this.#listeners) job();
      this.#listeners.clear();
    }
  }

  retarget(): void {
    this.#generation += 1;
    this.#queues = new Map();
    this.#ready.clear();
    this.#lastFailure = undefined;
    this.#all = new Set([...this.#all].filter(this.#parts.isPending));
    if (this.#parts.account().webhookUrl === undefined) return;
    for (const event of this.#all) this.#enqueue(event);
    this.#start();
  }

  clear(): void {
    this.#all.clear();
    this.retarget();
  }

  /** What waits, oldest first, while no webhook is set. */
  *waiting(): Generator<WebhookEvent> {
    for (const event of this.#all) {
      if (isExpired(this.#parts, event)) this.#parts.finish([event]);
      if (this.#parts.isPending(event)) yield event;
      else this.#all.delete(event);
    }
  }

  /** Calls `job` once, at the next event while no webhook is set. Returns how to take that back. */
  onEvent(job: () => void): () => void {
    this.#listeners.add(job);
    return () => this.#listeners.delete(job);
  }

  #enqueue(event: WebhookEvent): void {
    const queue = this.#queues.get(event.person) ?? { person: event.person, events: new Fifo(), failures: 0 };
    queue.events.add(event);
    if (this.#queues.has(event.person)) return;
    this.#queues.set(event.person, queue);
    this.#ready.add(queue);
  }

  #start(): void {
    const limit = this.#parts.rules.inFlight(this.#parts.account());
    while (this.#underWay < limit) {
      const queue = this.#ready.take(1)[0];
      if (!queue) return;
      void this.#sendFirst(queue);
    }
  }

  async #sendFirst(queue: Queue): Promise<void> {
    const parts = this.#parts;
    const url = parts.account().webhookUrl;
    const event = queue.events.peek();
    if (url === undefined || event === undefined) return;
    if (!parts.isPending(event)) return this.#advance(queue, event);
    if (isExpired(parts, event)) {
      parts.finish([event]);
      return this.#advance(queue, event);
    }
    const born = this.#generation;
    this.#underWay += 1;
    const outcome = await postWebhook(parts, url, [event], queue.failures);
    this.#underWay -= 1;
    if (outcome.kind === "accepted") parts.finish([event]);
    else this.#lastFailure = { at: parts.now(), reason: outcome.reason };
    if (born !== this.#generation) return this.#start();
    if (outcome.kind === "accepted") this.#advance(queue, event);
    else this.#retryIn(outcome.retryAfterMs, queue);
    this.#start();
  }

  #advance(queue: Queue, event: WebhookEvent): void {
    this.#all.delete(event);
    queue.events.take(1);
    queue.failures = 0;
    if (queue.events.size > 0) this.#ready.add(queue);
    else this.#queues.delete(queue.person);
  }

  #retryIn(waitMs: number, queue: Queue): void {
    queue.failures += 1;
    const born = this.#generation;
    this.#parts.at(this.#parts.now() + waitMs, () => {
      if (born !== this.#generation) return;
      this.#ready.add(queue);
      this.#start();
    });
  }
}
