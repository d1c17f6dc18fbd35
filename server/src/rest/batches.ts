import { setImmediate as othersTurn } from "node:timers/promises";
import { Type } from "typebox";
import { maxBatch, messages, NewMessage, type BatchResult as Result } from "../../../contract/src/messages.ts";
import { closed } from "../../../contract/src/schemas.ts";
import type { Principal } from "../credentials/credentials.ts";
import { type ErrorCode, RequestError } from "../errors.ts";
import type { App } from "../http/app.ts";
import { toRequestError } from "../http/errors.ts";
import { isFinalError } from "../http/idempotency.ts";
import { route } from "../http/route.ts";
import { compileCheck } from "../http/validation.ts";
import { derivedId, msOf } from "../lib/ids.ts";
import {
  type Acceptor,
  type AcceptResult,
  type Draft,
  type NewMessage as DraftedMessage,
  draftMessage,
  messagesInParts,
  type PrepareDeps,
  resolveDrafts,
} from "../messages/messages.ts";

export interface BatchDeps {
  acceptor: Acceptor;
  prepare: PrepareDeps;
}

const draftedAtATime = 50;

export function batchRoutes(app: App, { acceptor, prepare }: BatchDeps): void {
  const checkBatch = compileCheck(
    Type.Object({ messages: Type.Array(Type.Unknown(), { minItems: 1, maxItems: maxBatch }) }, closed),
    "body",
  );
  const checkItem = compileCheck(NewMessage, "message");

  async function acceptPart(part: DraftedMessage[], mayRepeat: boolean): Promise<AcceptResult[]> {
    try {
      return await acceptor.accept(part);
    } catch (error) {
      if (mayRepeat) throw error;
      return part.map(({ messageId }) => ({ kind: "refused", messageId, error: toRequestError(error) }));
    }
  }

  function draftItem(principal: Principal, item: unknown, messageId: string | undefined): Draft | RequestError {
    try {
      const body = checkItem(item);
      if (messageId !== undefined) body.message_id ??= messageId;
      return draftMessage(prepare, principal, body);
    } catch (error) {
      return toRequestError(error);
    }
  }

  route(
    app,
    messages.sendMessageBatch,
    async (request) => {
      const { principal, workId } = request;
      const items = checkBatch(request.body).messages;
      const results = [...((request.donePart as { results: Result[] } | null)?.results ?? [])];
      const places = [...items.keys()].filter((place) => !isFinal(results[place]));
      const drafted: (Draft | RequestError)[] = [];
      for (const place of places) {
        const messageId = workId === null ? undefined : derivedId(msOf(workId), workId, String(place));
        drafted.push(draftItem(principal, items[place], messageId));
        if (drafted.length % draftedAtATime === 0) await othersTurn();
      }
      const resolved = (await resolveDrafts(prepare, principal, drafted.filter(isGood))).values();
      const prepared = drafted.map((one) => (isGood(one) ? resolved.next().value! : one));
      const accepted: AcceptResult[] = [];
      for (const part of messagesInParts(prepared.filter(isGood)))
        accepted.push(...(await acceptPart(part, workId !== null || accepted.length === 0)));
      const answers = accepted.values();
      for (const [index, one] of prepared.entries()) {
        const place = places[index]!;
        results[place] = isGood(one) ? showResult(answers.next().value!) : showRefused(items[place], one);
      }
      request.isDoneInPart = !results.every(isFinal);
      return { results };
    },
    { validatorCompiler: () => () => true },
  );
}

function isFinal(one: Result | undefined): boolean {
  return one !== undefined && (one.error === undefined || isFinalError(one.error.code as ErrorCode));
}

function isGood<Good extends object>(one: Good | RequestError): one is Good {
  return !(one instanceof RequestError);
}

function showResult(accepted: AcceptResult) {
  return accepted.kind === "accepted"
    ? showAccepted(accepted)
    : showRefused({ message_id: accepted.messageId }, accepted.error);
}

function showRefused(item: unknown, { code, message, details = {} }: RequestError) {
  const given = (item as { message_id?: unknown } | null)?.message_id;
  return { message_id: typeof given === "string" ? given : null, error: { code, message, details } };
}

export function showAccepted({ messageId, conversationId, seq, createdAt }: AcceptResult & { kind: "accepted" }) {
  return {
    message_id: messageId,
    conversation_id: conversationId,
    seq,
    status: "accepted" as const,
    created_at: isoTextOf(createdAt),
  };
}

let last = { at: new Date(0), text: "" };

/** Messages of one commit share one time. */
function isoTextOf(at: Date): string {
  if (last.at !== at) last = { at, text: at.toISOString() };
  return last.text;
}
