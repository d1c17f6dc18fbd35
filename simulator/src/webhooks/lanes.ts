import { Fifo } from "../fifo.ts";
import type { WebhookEvent } from "./event.ts";
import { isExpired, postWebhook, type Sender, type SenderParts } from "./post.ts";

/** The events of one person. Only the first is ever under way; the others wait for it. */
interface Lane {
  person: string;
  events: Fifo<WebhookEvent>;
  failures: number;
}

/** A sender whose waiting events can also be fetched instead of sent. */
export interface LaneSender extends Sender {
  /** What waits, oldest first, while no webhook is set. */
  waiting(): Iterable<WebhookEvent>;
  /** Calls `job` once, at the next event while no webhook is set. Returns how to take that back. */
  onEvent(job: () => void): () => void;
  /** The last failure of the webhook, for the platform's own report. */
  lastFailure(): { at: number; reason: string } | undefined;
}

/**
 * Sends the events of an account one a POST: a person's one after another, different people's side by side.
 * A refused event holds its own lane until it is accepted or expires. Without a webhook, events wait to be fetched.
 */
export function createLaneSender(parts: SenderParts): LaneSender {
  let all = new Set<WebhookEvent>();
  let lanes = new Map<string, Lane>();
  const ready = new Fifo<Lane>();
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
    const lane = lanes.get(event.person) ?? { person: event.person, events: new Fifo(), failures: 0 };
    lane.events.add(event);
    if (lanes.has(event.person)) return;
    lanes.set(event.person, lane);
    ready.add(lane);
  }

  function start(): void {
    const limit = parts.rules.inFlight(parts.account());
    while (underWay < limit) {
      const lane = ready.take(1)[0];
      if (!lane) return;
      void sendFirst(lane);
    }
  }

  async function sendFirst(lane: Lane): Promise<void> {
    const url = parts.account().webhookUrl;
    const event = lane.events.peek();
    if (url === undefined || event === undefined) return;
    if (!parts.isPending(event)) return advance(lane, event);
    if (isExpired(parts, event)) {
      parts.finish([event]);
      return advance(lane, event);
    }
    const born = generation;
    underWay += 1;
    const outcome = await postWebhook(parts, url, [event], lane.failures);
    underWay -= 1;
    if (outcome.kind === "accepted") parts.finish([event]);
    else failure = { at: parts.now(), reason: outcome.reason };
    if (born !== generation) return start();
    if (outcome.kind === "accepted") advance(lane, event);
    else retryIn(outcome.retryAfterMs, lane);
    start();
  }

  function advance(lane: Lane, event: WebhookEvent): void {
    all.delete(event);
    lane.events.take(1);
    lane.failures = 0;
    if (lane.events.size > 0) ready.add(lane);
    else lanes.delete(lane.person);
  }

  function retryIn(waitMs: number, lane: Lane): void {
    lane.failures += 1;
    const born = generation;
    parts.at(parts.now() + waitMs, () => {
      if (born !== generation) return;
      ready.add(lane);
      start();
    });
  }

  function retarget(): void {
    generation += 1;
    lanes = new Map();
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
