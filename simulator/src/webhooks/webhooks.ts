import type { Account, Accounts } from "../accounts.ts";
import { PairMap } from "../collections.ts";
import type { FaultName, Faults } from "../faults.ts";
import type { HttpClient } from "../http/client.ts";
import type { Random } from "../random.ts";
import type { Schedule } from "../schedule.ts";
import type { Settings } from "../settings.ts";
import { BatchSender } from "./batches.ts";
import type { WebhookEvent, WebhookRules } from "./event.ts";
import type { Sender, SenderParts } from "./post.ts";
import { QueueSender } from "./queues.ts";

/** Events that may wait before a person's next one is refused. */
export const maxWaitingForInbound = 100_000;

export const maxWaitingForSends = 150_000;

const defaultSlipMs = 200;

/** How soon a repeat looks again whether its first copy was taken. */
const minSlipMs = 10;

interface WebhookParts {
  now: () => number;
  random: Random;
  schedule: Schedule;
  http: HttpClient;
  accounts: Accounts;
  settings: Settings;
  faults: Faults;
  onAccepted: (numbers: readonly number[]) => void;
}

/** The events that the platforms still have to send, from the promise until a receiver has them. */
export class Webhooks {
  readonly #parts: WebhookParts;
  readonly #rules = new Map<string, WebhookRules>();
  readonly #senders = new PairMap<Sender>();
  readonly #pending = new Map<number, WebhookEvent>();
  #nextNumber = 1;
  /** Second copies still to come, and the reset after which they no longer do. */
  #repeats = 0;
  #generation = 0;

  constructor(parts: WebhookParts) {
    this.#parts = parts;
  }

  open(channel: string, rules: WebhookRules): void {
    this.#rules.set(channel, rules);
  }

  /** Promised and not yet taken, those due later included. */
  get waiting(): number {
    return this.#pending.size + this.#repeats;
  }

  /** As `waiting`, without what can only be fetched because no webhook is set. */
  get waitingToBeSent(): number {
    let count = this.#repeats;
    for (const event of this.#pending.values()) {
      if (this.#parts.accounts.find(event.channel, event.account)?.webhookUrl !== undefined) count += 1;
    }
    return count;
  }

  get nextNumber(): number {
    return this.#nextNumber;
  }

  reserve(count: number): number {
    const first = this.#nextNumber;
    this.#nextNumber += count;
    return first;
  }

  skipTo(number: number): void {
    this.#nextNumber = Math.max(this.#nextNumber, number);
  }

  /** Sends the event when it is due. Journal it first. */
  promise(event: WebhookEvent): void {
    this.#pending.set(event.number, event);
    if (event.dueAt <= this.#parts.now()) this.#dispatch(event);
    else this.#parts.schedule.at(event.dueAt, () => this.#dispatch(event));
  }

  pending(): Iterable<WebhookEvent> {
    return this.#pending.values();
  }

  isPending(event: WebhookEvent): boolean {
    return this.#pending.has(event.number);
  }

  finish(events: readonly WebhookEvent[]): void {
    const numbers = events.filter((event) => this.#pending.delete(event.number)).map((event) => event.number);
    if (numbers.length > 0) this.#parts.onAccepted(numbers);
  }

  retarget(account: Account): void {
    this.sender(account).retarget();
  }

  /** The account's sender; `queues` channels can be asked for what waits. */
  sender(account: Account): Sender {
    const known = this.#senders.get(account.channel, account.id);
    if (known) return known;
    const rules = this.#rules.get(account.channel);
    if (!rules) throw new Error(`no webhook rules for channel ${account.channel}`);
    const parts = this.#senderParts(account, rules);
    const sender = rules.order === "queues" ? new QueueSender(parts) : new BatchSender(parts);
    this.#senders.set(account.channel, account.id, sender);
    return sender;
  }

  queueSender(account: Account): QueueSender {
    return this.sender(account) as QueueSender;
  }

  /** Forgets everything that waits; responses to POSTs under way change nothing. */
  clear(): void {
    this.#pending.clear();
    this.#repeats = 0;
    this.#generation += 1;
    for (const sender of this.#senders.values()) sender.clear();
  }

  #dispatch(event: WebhookEvent): void {
    const account = this.#parts.accounts.find(event.channel, event.account);
    if (!account || !this.isPending(event)) this.finish([event]);
    else if (account.webhookUrl === undefined) this.sender(account).push(event);
    else this.#playFaults(account, event);
  }

  #playFaults(account: Account, event: WebhookEvent): void {
    const { faults, now, schedule, random } = this.#parts;
    const hit = (name: FaultName) => faults.hit(event.channel, [name], event.person);
    if (hit("drop_webhooks")) {
      this.finish([event]);
      return;
    }
    const twice = hit("duplicate_webhooks");
    if (twice) this.#repeat(account, event, twice.delay_ms ?? defaultSlipMs);
    const late = hit("reorder_webhooks");
    if (late) {
      const slipMs = (late.delay_ms ?? defaultSlipMs) * (0.5 + random.next() / 2);
      schedule.at(now() + slipMs, () => this.sender(account).push(event));
    } else {
      this.sender(account).push(event);
    }
  }

  /** Sends a second copy after `delayMs`, and after the first was taken: pending again then, under the number that it had. */
  #repeat(account: Account, event: WebhookEvent, delayMs: number): void {
    const { now, schedule } = this.#parts;
    const born = this.#generation;
    this.#repeats += 1;
    const send = () => {
      if (born !== this.#generation) return;
      if (this.#pending.has(event.number)) return schedule.at(now() + Math.max(delayMs, minSlipMs), send);
      this.#repeats -= 1;
      this.#pending.set(event.number, event);
      this.sender(account).push({ ...event });
    };
    schedule.at(now() + delayMs, send);
  }

  #senderParts(account: Account, rules: WebhookRules): SenderParts {
    const { now, random, schedule, http, accounts, settings } = this.#parts;
    return {
      rules,
      now,
      random,
      http,
      at: (dueAt, job) => schedule.at(dueAt, job),
      account: () => accounts.find(account.channel, account.id) ?? account,
      settings: () => settings.of(account.channel),
      isPending: (event) => this.isPending(event),
      finish: (events) => this.finish(events),
    };
  }
}
