import type { Bus } from "../bus/bus.ts";
import type { RequestDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { EventNotifier } from "../events/events.ts";
import { type Batcher, BatcherFull, openBatcher } from "../lib/batcher.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import type { ConversationId, MessageId } from "../lib/ids.ts";
import { inParts } from "../lib/in-parts.ts";
import { isRetryableDbError, isUniqueViolation } from "../lib/postgres.ts";
import { topics } from "../topics.ts";
import {
  isSameMessage,
  type MessageRouter,
  type NewMessage,
  type Refusal,
  type Written,
  writeMessages,
} from "./write-messages.ts";

export type AcceptResult =
  | {
      kind: "accepted";
      messageId: MessageId;
      conversationId: ConversationId;
      seq: number;
      createdAt: Date;
      isReplayed: boolean;
    }
  | { kind: "refused"; messageId: MessageId; error: RequestError };

interface AcceptOptions {
  dbOf: (workspaceId: string) => RequestDb;
  bus: Bus;
  eventNotifier: EventNotifier;
  clock: Clock;
  batchSize: number;
  queueSize: number;
  maxWaitMs: number;
  /** Routes messages in the commit that accepts them; without it the step does. */
  router?: MessageRouter | null;
}

/** How long a commit is retried while the database is unavailable, in milliseconds. */
const retryTotalMs = 5_000;
const retryPauseMs = 50;
/** See `BatcherOptions`: how long a commit of several messages may wait for more of them, in milliseconds. */
const paceMs = 6;
/** While one is written, the next is planned. More of them would be smaller, and cost more for each message. */
const commitsAtOnce = 2;

/** Accepts messages: many requests share a commit, and each gets its own response. */
export class Acceptor {
  readonly #options: AcceptOptions;
  readonly #batcher: Batcher<NewMessage, AcceptResult>;

  constructor(options: AcceptOptions) {
    const { batchSize, queueSize, maxWaitMs, clock } = options;
    this.#options = options;
    this.#batcher = openBatcher<NewMessage, AcceptResult>({
      maxBatch: batchSize,
      maxWaiting: queueSize,
      maxWaitMs,
      paceMs,
      maxRuns: commitsAtOnce,
      keyOf: ({ conversationId }) => conversationId,
      clock,
      run: (messages) => this.#commit(messages),
    });
  }

  /**
   * Resolves once the messages are on durable storage. Results are in the given order; a refused message does not affect
   * the others. Safe to call again with the same ids: the response is the same. Throws OVERLOADED when the queue is full
   * (nothing was accepted) or the database stays unavailable (then call it again).
   */
  async accept(messages: readonly NewMessage[]): Promise<AcceptResult[]> {
    if (messages.length === 0) return [];
    try {
      const accepted = await this.#batcher.submit(messages);
      const [first] = accepted;
      // The database could not store them: they were written together.
      if (first!.kind === "refused" && first!.error.code === "OVERLOADED") throw first!.error;
      return accepted;
    } catch (error) {
      if (!(error instanceof BatcherFull)) throw error;
      throw overloaded("Too many messages wait to be accepted. Nothing was accepted; try again.", error);
    }
  }

  idle(): Promise<void> {
    return this.#batcher.idle();
  }

  async #commit(messages: NewMessage[]): Promise<AcceptResult[]> {
    const { unique, places } = withoutRepeats(messages);
    const written = await this.#writeByWorkspace(unique);
    return messages.map((message, index) => resultFor(message, unique[places[index]!]!, written[places[index]!]!));
  }

  /** One commit for each workspace, because row-level security lets none see another's rows. */
  async #writeByWorkspace(messages: NewMessage[]): Promise<(Written | Error)[]> {
    if (messages.every(({ workspaceId }) => workspaceId === messages[0]!.workspaceId))
      return this.#writeInParts(messages);
    const results = new Map<NewMessage, Written | Error>();
    const groups = Map.groupBy(messages, ({ workspaceId }) => workspaceId);
    await Promise.all(
      [...groups.values()].map(async (group) => {
        // An error of one workspace must not fail the requests of another.
        const written = await this.#writeInParts(group).catch((error: Error) => group.map(() => error));
        for (const [index, message] of group.entries()) results.set(message, written[index]!);
      }),
    );
    return messages.map((message) => results.get(message)!);
  }

  async #writeInParts(messages: NewMessage[]): Promise<(Written | Error)[]> {
    const written: (Written | Error)[] = [];
    for (const part of messagesInParts(messages)) written.push(...(await this.#write(part)));
    return written;
  }

  /** Writes messages of one workspace. When one of them makes the write fail, the others are written without it. */
  async #write(messages: NewMessage[]): Promise<(Written | Error)[]> {
    const { dbOf, bus, eventNotifier, clock, router } = this.#options;
    const deadline = clock.elapsed() + retryTotalMs;
    const { workspaceId } = messages[0]!;
    const db = dbOf(workspaceId);
    const now = new Date(clock.now());
    let plan = (await router?.plan(messages, now)) ?? null;
    for (;;) {
      try {
        const { results, routed, isQueued } = await writeMessages(
          db,
          bus,
          topics.messageProcessing,
          messages,
          now,
          plan,
        );
        plan?.written(routed);
        eventNotifier.notify(workspaceId);
        if (isQueued) bus.wake(topics.messageProcessing);
        return results;
      } catch (error) {
        if (plan !== null) {
          // Its fault may be in the routing: they are accepted all the same.
          plan.failed(error);
          plan = null;
          continue;
        }
        const mayPassSoon = isUniqueViolation(error) || isRetryableDbError(error);
        if (mayPassSoon && clock.elapsed() < deadline) await pause(clock, retryPauseMs);
        else if (mayPassSoon || !isRecordFault(error))
          throw overloaded(
            "The database cannot store the message now. Send it again with the same message_id: it is accepted once.",
            error,
          );
        else if (messages.length === 1) return [error as Error];
        else break;
      }
    }
    const half = Math.ceil(messages.length / 2);
    return [...(await this.#write(messages.slice(0, half))), ...(await this.#write(messages.slice(half)))];
  }
}

/** Most JSON written to the database in one statement, in characters: encoding it as parameters takes milliseconds. */
export const maxPartLength = 256 * 1024;

export function messagesInParts(messages: readonly NewMessage[]): NewMessage[][] {
  return inParts(messages, ({ payload, metadata }) => payload.length + (metadata?.length ?? 0), maxPartLength);
}

/** The same id twice in one batch is one message: `places` are the indexes in `unique`. */
function withoutRepeats(messages: readonly NewMessage[]): { unique: NewMessage[]; places: number[] } {
  const unique: NewMessage[] = [];
  const placeOf = new Map<string, number>();
  const places = messages.map((message) => {
    const key = `${message.workspaceId}/${message.messageId}`;
    const known = placeOf.get(key);
    if (known !== undefined) return known;
    placeOf.set(key, unique.length);
    return unique.push(message) - 1;
  });
  return { unique, places };
}

/** `first` is the message of this batch that was written with this id: usually the message itself. */
function resultFor(message: NewMessage, first: NewMessage, written: Written | Error): AcceptResult {
  const { messageId } = message;
  if (written instanceof RequestError) return { kind: "refused", messageId, error: written };
  if (written instanceof Error) {
    const error = new RequestError("INTERNAL", "This message could not be stored. Give the operator this message_id.", {
      cause: written,
    });
    return { kind: "refused", messageId, error };
  }
  const isSame =
    written.kind === "known" ? written.isSame(message) : first === message || isSameMessage(message, first);
  if (!isSame) {
    return { kind: "refused", messageId, error: usedId() };
  }
  if (written.kind === "refused") return { kind: "refused", messageId, error: refusal(message, written.why) };
  const { conversationId, seq, createdAt } = written;
  const isReplayed = written.kind === "known" || first !== message;
  return { kind: "accepted", messageId, conversationId, seq, createdAt, isReplayed };
}

export function usedId(): RequestError {
  return new RequestError(
    "IDEMPOTENCY_CONFLICT",
    "This message_id was used for another message. Use a new message_id.",
  );
}

export function refusal(message: Pick<NewMessage, "channels">, why: Refusal): RequestError {
  switch (why) {
    // The same words, so that the error does not reveal whether the conversation exists.
    case "conversation":
    case "sender":
      return new RequestError(
        "RESOURCE_NOT_FOUND",
        "There is no such conversation in this workspace, or the sender is not a member of it.",
      );
    case "reply_to":
      return new RequestError("VALIDATION_ERROR", "reply_to is not a message of this conversation.", {
        details: { field: "reply_to" },
      });
    case "reacts_to":
      return new RequestError("VALIDATION_ERROR", "payload.message_id is not a message of this conversation.", {
        details: { field: "payload.message_id" },
      });
    case "route":
      return new RequestError(
        "NO_ROUTE",
        message.channels === null
          ? "None of the recipients has an address on a connected channel."
          : "None of the recipients has an address on the requested channels, or no account is connected there.",
        { details: { channels: message.channels?.split(",") ?? null } },
      );
  }
}

function overloaded(message: string, cause: unknown): RequestError {
  return new RequestError("OVERLOADED", message, { retryAfterSeconds: 1, cause });
}
