import { parse } from "../../../../server/src/connectors/whatsapp/webhook.ts";
import { type Batcher, type BatcherOptions, openBatcher } from "../../../../server/src/lib/batcher.ts";
import { systemClock as clock } from "../../../../server/src/lib/clock.ts";
import { derivedId, newId } from "../../../../server/src/lib/ids.ts";
import type { Pool } from "../../../../server/src/lib/postgres.ts";
import { allPrepared, plainArray } from "../../../../server/src/lib/query.ts";
import { defaultWhatsAppAccount as account } from "../../../../simulator/src/default-accounts.ts";
import type { Exchange, Platform } from "./platform.ts";
import { acceptStatement, finishStatement, receiptsStatement } from "./statements.ts";

/** A conversation with one person, and the lane to that person's address. */
export interface Lane {
  conversationId: string;
  recipientId: string;
  laneId: string;
  identifier: string;
}

interface LaneState extends Lane {
  /** Messages that wait for the one under way, oldest first. */
  queue: Message[];
  isBusy: boolean;
}

interface Payload {
  type: "text";
  text: string;
}

interface Message {
  messageId: string;
  deliveryId: string;
  lane: LaneState;
  payload: Payload;
  createdAt: Date;
  /** Known once the message is stored; 0 until then. */
  seq: number;
  commit: { id: number; unfinished: number } | null;
  startedAt: Date | null;
  /** Resolves when the delivery's row exists. */
  recorded: PromiseWithResolvers<void>;
}

interface Sent {
  message: Message & { startedAt: Date };
  exchange: Exchange;
  sentAt: Date;
}

export interface FloorOptions {
  acceptDb: Pool;
  pipelineDb: Pool;
  workspaceId: string;
  channelAccountId: string;
  lanes: readonly Lane[];
  platform: Platform;
  /** A step failed: the floor does not retry, so its figures no longer count. */
  onFailed(error: unknown): void;
}

/** Requests to the platform at the same time. */
const maxUnderWay = 128;
const unlimited = { maxWaiting: Number.MAX_SAFE_INTEGER, clock };

/**
 * The leanest program that keeps the promises of storage for texts to one person each: a 202 and a webhook's 200 mean
 * durable storage; a lane sends one message after the other; an attempt is recorded before it is made, in the commit that
 * accepts the message or that finishes the one before it; a status moves forward only; the feed has no holes.
 *
 * It does not recover, retry, limit, validate or route, and it owns all lanes: it is a reference for what a message must
 * cost, and not a hub.
 */
export class Floor {
  readonly #options: FloorOptions;
  readonly #lanes: ReadonlyMap<string, LaneState>;
  readonly #accepts: Batcher<Message, Message>;
  readonly #finishes: Batcher<Sent | null, null>;
  readonly #webhooks: Batcher<Buffer, null>;
  /** Lanes whose next message may start, in the order in which they became free. */
  #ready: LaneState[] = [];
  readonly #sending = new Map<string, Message>();
  #underWay = 0;
  #lastCommit = 0;

  constructor(options: FloorOptions) {
    this.#options = options;
    this.#lanes = new Map(options.lanes.map((lane) => [lane.conversationId, { ...lane, queue: [], isBusy: false }]));
    const batcher = <Item, Result>(own: Pick<BatcherOptions<Item, Result>, "maxBatch" | "paceMs" | "run">) =>
      openBatcher<Item, Result>({ ...unlimited, ...own });
    this.#accepts = batcher({ maxBatch: 500, paceMs: 2, run: (messages) => this.#store(messages) });
    this.#finishes = batcher({ maxBatch: 256, paceMs: 10, run: (sent) => this.#record(sent) });
    this.#webhooks = batcher({ maxBatch: 200, paceMs: 10, run: (bodies) => this.#receive(bodies) });
  }

  /** Resolves when the message is on durable storage. */
  accept(conversationId: string, payload: Payload): Promise<Message> {
    const lane = this.#lanes.get(conversationId)!;
    const createdAt = new Date();
    const messageId = newId(createdAt.getTime());
    const deliveryId = derivedId(createdAt.getTime(), messageId, lane.recipientId, "whatsapp", lane.identifier);
    const recorded = Promise.withResolvers<void>();
    return this.#accepts.submitOne({
      ...{ messageId, deliveryId, lane, payload, createdAt, recorded },
      ...{ seq: 0, commit: null, startedAt: null },
    });
  }

  /** Resolves when the webhook is on durable storage and its receipts are applied. */
  async receive(rawBody: Buffer): Promise<void> {
    await this.#webhooks.submitOne(rawBody);
  }

  async #store(messages: Message[]): Promise<Message[]> {
    const now = new Date();
    const commit = { id: ++this.#lastCommit, unfinished: messages.length };
    const counts = new Map<string, number>();
    const starts: Message[] = [];
    const steps = messages.map((message) => {
      const { lane } = message;
      const step = (counts.get(lane.conversationId) ?? 0) + 1;
      counts.set(lane.conversationId, step);
      message.commit = commit;
      if (!lane.isBusy && this.#underWay < maxUnderWay) starts.push(this.#start(message, now));
      else {
        lane.queue.push(message);
        if (!lane.isBusy) this.#ready.push(lane);
      }
      lane.isBusy = true;
      return step;
    });
    const conversationIds = [...counts.keys()].sort();
    const { acceptDb, workspaceId } = this.#options;
    const rows = await allPrepared<{ conversation_id: string; base: number }>(acceptDb, "accept", acceptStatement, [
      now.toISOString(),
      workspaceId,
      plainArray(conversationIds),
      plainArray(conversationIds.map((id) => counts.get(id)!)),
      plainArray(conversationIds.map(() => 1)),
      plainArray(steps),
      plainArray(messages.map(({ messageId }) => messageId)),
      plainArray(messages.map(({ lane }) => lane.conversationId)),
      messages.map(({ payload }) => JSON.stringify(payload)),
      commit.id,
      messages.length,
      JSON.stringify(
        messages.map(({ messageId, deliveryId, startedAt }) => [messageId, deliveryId, startedAt ? 1 : 0]),
      ),
      JSON.stringify(messages.map(({ messageId, lane }) => ["m", lane.conversationId, messageId])),
    ]);
    if (rows.length === 0) throw new Error("A conversation has other facts.");
    const bases = new Map(rows.map(({ conversation_id, base }) => [conversation_id, base]));
    for (const [index, message] of messages.entries()) {
      message.seq = bases.get(message.lane.conversationId)! + steps[index]!;
    }
    for (const message of starts) this.#send(message);
    // Only a finishing commit starts what waits, and none may be under way.
    if (this.#underWay < maxUnderWay && this.#ready.some(({ queue }) => queue[0]!.seq > 0)) this.#finish(null);
    return messages;
  }

  #start(message: Message, now: Date): Message {
    message.startedAt = now;
    this.#underWay += 1;
    return message;
  }

  #send(message: Message): void {
    const { deliveryId, lane, payload } = message;
    this.#sending.set(deliveryId, message);
    this.#options.platform.send(deliveryId, lane.identifier, payload).then((exchange) => {
      this.#finish({ message: message as Sent["message"], exchange, sentAt: new Date() });
    }, this.#options.onFailed);
  }

  #finish(sent: Sent | null): void {
    this.#finishes.submitOne(sent).catch(this.#options.onFailed);
  }

  async #record(given: (Sent | null)[]): Promise<null[]> {
    const sent = given.filter((one) => one !== null);
    sent.sort((a, b) => (a.message.deliveryId < b.message.deliveryId ? -1 : 1));
    const now = new Date();
    const starts = this.#startNext(sent, now);
    const finished = sent.filter(({ message }) => --message.commit!.unfinished === 0);
    const { pipelineDb, workspaceId, channelAccountId } = this.#options;
    const column = (value: (sent: Sent) => string | number) => plainArray(sent.map(value));
    await allPrepared(pipelineDb, "finish", finishStatement, [
      now.toISOString(),
      newId(now.getTime()),
      workspaceId,
      JSON.stringify([
        sent.map(({ message, exchange, sentAt }) => [message.deliveryId, message.startedAt, sentAt, exchange.record]),
        starts.map(({ messageId, deliveryId }) => [messageId, deliveryId]),
      ]),
      channelAccountId,
      column(({ message }) => message.deliveryId),
      column(({ message }) => message.messageId),
      column(({ message }) => message.lane.conversationId),
      column(({ message }) => message.lane.recipientId),
      column(({ message }) => message.lane.laneId),
      column(({ message }) => message.seq),
      column(({ message }) => message.startedAt.toISOString()),
      column(({ sentAt }) => sentAt.toISOString()),
      column(({ exchange }) => exchange.providerMessageId),
      column(({ message }) => message.lane.identifier),
      plainArray(finished.map(({ message }) => message.commit!.id)),
      sent.length * 2,
      JSON.stringify(sent.flatMap(({ message }) => [eventOf(message, "in_transit"), eventOf(message, "sent")])),
    ]);
    for (const { message } of sent) {
      this.#sending.delete(message.deliveryId);
      message.recorded.resolve();
    }
    for (const message of starts) this.#send(message);
    return given.map(() => null);
  }

  /** The next messages of the lanes that are free, the longest waiting first. */
  #startNext(sent: readonly Sent[], now: Date): Message[] {
    this.#underWay -= sent.length;
    for (const { message } of sent) {
      if (message.lane.queue.length > 0) this.#ready.push(message.lane);
      else message.lane.isBusy = false;
    }
    const starts: Message[] = [];
    this.#ready = this.#ready.filter(({ queue }) => {
      const isStored = queue[0]!.seq > 0;
      if (!isStored || this.#underWay >= maxUnderWay) return true;
      starts.push(this.#start(queue.shift()!, now));
      return false;
    });
    return starts;
  }

  async #receive(bodies: Buffer[]): Promise<null[]> {
    const receipts = receiptsIn(bodies);
    // A receipt may overtake the commit that writes its delivery.
    await Promise.all(receipts.map(({ deliveryId }) => this.#sending.get(deliveryId)?.recorded.promise));
    const now = new Date();
    let end = 0;
    const { pipelineDb, workspaceId, channelAccountId } = this.#options;
    await allPrepared(pipelineDb, "receipts", receiptsStatement, [
      now.toISOString(),
      newId(now.getTime()),
      workspaceId,
      channelAccountId,
      plainArray(receipts.map(({ deliveryId }) => deliveryId)),
      plainArray(receipts.map(({ providerMessageId }) => providerMessageId)),
      plainArray(receipts.map(({ status }) => status)),
      plainArray(receipts.map(({ deliveredAt }) => deliveredAt)),
      plainArray(receipts.map(({ readAt }) => readAt)),
      plainArray(bodies.map(({ length }) => (end += length))),
      bodies.length === 1 ? bodies[0] : Buffer.concat(bodies),
    ]);
    return bodies.map(() => null);
  }
}

function eventOf({ messageId, deliveryId, lane }: Message, status: string) {
  return ["s", lane.conversationId, messageId, deliveryId, lane.recipientId, "whatsapp", status, null];
}

const ranks: Record<string, number> = { sent: 1, delivered: 2, read: 3 };

interface Receipt {
  deliveryId: string;
  providerMessageId: string;
  status: string;
  deliveredAt: string | null;
  readAt: string | null;
}

/** One for each delivery, with the furthest status. */
function receiptsIn(bodies: readonly Buffer[]): Receipt[] {
  const receipts = new Map<string, Receipt>();
  for (const event of bodies.flatMap((rawBody) => [...parse({ rawBody, headers: {} }, account)])) {
    if (event.kind !== "receipt" || event.deliveryId === null) continue;
    const { deliveryId, providerMessageId, status } = event;
    const known = receipts.get(deliveryId);
    const receipt = known ?? { deliveryId, providerMessageId, status, deliveredAt: null, readAt: null };
    if (known === undefined) receipts.set(deliveryId, receipt);
    if (ranks[status]! > ranks[receipt.status]!) receipt.status = status;
    const at = new Date(event.at).toISOString();
    if (status === "delivered") receipt.deliveredAt = at;
    if (status === "read") receipt.readAt = at;
  }
  return [...receipts.values()].sort((a, b) => (a.deliveryId < b.deliveryId ? -1 : 1));
}
