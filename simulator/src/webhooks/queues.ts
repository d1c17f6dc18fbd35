import { Fifo } from "../collections.ts";
import type { WebhookEvent } from "./event.ts";
import { isExpired, postWebhook, type Sender, type SenderParts } from "./post.ts";

/** The events of one person. Only the first is ever under way; the others wait for it. */
interface Queue {
  person: string;
  events: Fifo<WebhookEvent>;
  failures: number;
}

export interface QueueSender extends Sender {
  /** What waits, oldest first, while no webhook is set. */
  waiting(): Iterable<WebhookEvent>;
  /** Calls `job` once, at the next event while no webhook is set. Returns how to take that back. */
  onEvent(job: () => void): () => void;
  lastFailure(): { at: number; reason: string } | undefined;
}

/**
 * Sends the events of an account one a POST: a person's one after another, different people's side by side.
 * A refused event holds its own queue until it is accepted or expires. Without a webhook, events wait to be fetched.
 */
export function createQueueSender(parts: SenderParts): QueueSender {
  let all = new Set<WebhookEvent>();
  let queues = new Map<string, Queue>();
  const ready = new Fifo<Queue>();
  const listeners = new Set<() => void>();
  let underWay = 0;
  let generation = 0;
  let failure: { at: number; reason: string } | undefined;

  function push(event: WebhookEvent): void {
    if (parts.account().webhookUrl !== undefined) {
      all.add(event);
      enqueue(event);
      start();
    } else if (parts.isPending(event)) {
      all.add(event);
      for (const job of listeners) job();
      listeners.clear();
    }
  }

  function enqueue(event: WebhookEvent): void {
    const queue = queues.get(event.person) ?? { person: event.person, events: new Fifo(), failures: 0 };
    queue.events.add(event);
    if (queues.has(event.person)) return;
    queues.set(event.person, queue);
    ready.add(queue);
  }

  function start(): void {
    const limit = parts.rules.inFlight(parts.account());
    while (underWay < limit) {
      const queue = ready.take(1)[0];
      if (!queue) return;
      void sendFirst(queue);
    }
  }

  async function sendFirst(queue: Queue): Promise<void> {
    const url = parts.account().webhookUrl;
    const event = queue.events.peek();
    if (url === undefined || event === undefined) return;
    if (!parts.isPending(event)) return advance(queue, event);
    if (isExpired(parts, event)) {
      parts.finish([event]);
      return advance(queue, event);
    }
    const born = generation;
    underWay += 1;
    const outcome = await postWebhook(parts, url, [event], queue.failures);
    underWay -= 1;
    if (outcome.kind === "accepted") parts.finish([event]);
    else failure = { at: parts.now(), reason: outcome.reason };
    if (born !== generation) return start();
    if (outcome.kind === "accepted") advance(queue, event);
    else retryIn(outcome.retryAfterMs, queue);
    start();
  }

  function advance(queue: Queue, event: WebhookEvent): void {
    all.delete(event);
    queue.events.take(1);
    queue.failures = 0;
    if (queue.events.size > 0) ready.add(queue);
    else queues.delete(queue.person);
  }

  function retryIn(waitMs: number, queue: Queue): void {
    queue.failures += 1;
    const born = generation;
    parts.at(parts.now() + waitMs, () => {
      if (born !== generation) return;
      ready.add(queue);
      start();
    });
  }

  function retarget(): void {
    generation += 1;
    queues = new Map();
    ready.clear();
    failure = undefined;
    all = new Set([...all].filter(parts.isPending));
    if (parts.account().webhookUrl === undefined) return;
    for (const event of all) enqueue(event);
    start();
  }

  return {
    push,
    retarget,
    clear() {
      all.clear();
      retarget();
    },
    *waiting() {
      for (const event of all) {
        if (isExpired(parts, event)) parts.finish([event]);
        if (parts.isPending(event)) yield event;
        else all.delete(event);
      }
    },
    onEvent(job) {
      listeners.add(job);
      return () => listeners.delete(job);
    },
    lastFailure: () => failure,
  };
}
