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
export function createBatchSender(parts: SenderParts): Sender {
  const waiting = new Fifo<WebhookEvent>();
  const retries = new Fifo<Batch>();
  let underWay = 0;
  let lastStart = Number.NEGATIVE_INFINITY;
  let isPlanned = false;
  let generation = 0;

  /** Plans one start: at once after a quiet moment, else when the linger is over. */
  function wake(): void {
    if (isPlanned) return;
    isPlanned = true;
    const born = generation;
    const run = () => {
      if (born === generation) start();
    };
    const waitMs = retries.size > 0 ? 0 : lastStart + lingerMs - parts.now();
    if (waitMs <= 0) setImmediate(run);
    else setTimeout(run, waitMs).unref();
  }

  function start(): void {
    isPlanned = false;
    const limit = parts.rules.inFlight(parts.account());
    while (underWay < limit) {
      const batch = retries.take(1)[0] ?? next();
      if (!batch) return;
      void send(batch);
    }
  }

  function next(): Batch | undefined {
    if (waiting.size === 0) return undefined;
    if (waiting.size < maxBatchEvents && parts.now() - lastStart < lingerMs) {
      wake();
      return undefined;
    }
    lastStart = parts.now();
    return { events: waiting.take(maxBatchEvents), failures: 0 };
  }

  async function send(batch: Batch): Promise<void> {
    const events = batch.events.filter(parts.isPending);
    const url = parts.account().webhookUrl;
    const expired = url === undefined ? events : events.filter((event) => isExpired(parts, event));
    if (expired.length > 0) parts.finish(expired);
    const live = events.filter((event) => !expired.includes(event));
    if (live.length === 0 || url === undefined) return;

    const born = generation;
    underWay += 1;
    const outcome = await postWebhook(parts, url, live, batch.failures);
    underWay -= 1;
    if (born !== generation) return wake();
    if (outcome.kind === "accepted") parts.finish(live);
    else retryIn(outcome.retryAfterMs, { events: live, failures: batch.failures + 1 });
    if (waiting.size > 0 || retries.size > 0) wake();
  }

  function retryIn(waitMs: number, batch: Batch): void {
    const born = generation;
    parts.at(parts.now() + waitMs, () => {
      if (born !== generation) return;
      retries.add(batch);
      wake();
    });
  }

  return {
    push(event) {
      waiting.add(event);
      if (underWay < parts.rules.inFlight(parts.account())) wake();
    },
    retarget: wake,
    clear() {
      generation += 1;
      isPlanned = false;
      waiting.clear();
      retries.clear();
    },
  };
}
