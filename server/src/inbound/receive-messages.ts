import type { MessagePayload } from "../../../contract/src/payloads.ts";
import { RequestError } from "../errors.ts";
import { addReceivedFiles, type ReceivedFile, toFilePayload } from "../files/files.ts";
import { BatcherFull } from "../lib/batcher.ts";
import { pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import { derivedId, isTooFarAhead, type MessageId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import { type AcceptResult, type NewMessage, storable } from "../messages/messages.ts";
import { requestFetch } from "../tasks/tasks.ts";
import type { InboundMessage, ReceiveDeps } from "./inbound-message.ts";
import { findPlaces, type InboundPlace, noteReceived, type ReceivedMessage } from "./places.ts";
import { type SettledPlace, settlePlaces } from "./settle-places.ts";
import { noteWebhookError } from "./webhooks.ts";

/** All on one channel account. */
export async function receiveMessages(deps: ReceiveDeps, inbound: readonly InboundMessage[]): Promise<void> {
  for (const those of cutAtQuotes(inbound)) await receiveSome(deps, those);
}

/** Messages of a run, and about the characters of their text, so that it does not block the event loop. */
const longestRun = 500;
const longestRunText = 256 * 1024;

/** No message of a run quotes another one of it: the quoted message must be accepted before it can be found. */
function cutAtQuotes(inbound: readonly InboundMessage[]): InboundMessage[][] {
  const runs: InboundMessage[][] = [];
  let ids = new Set<string | null>();
  let length = 0;
  for (const one of inbound) {
    const { payload, quotedProviderMessageId } = one.event;
    const ownLength = payload.type === "text" ? payload.text.length : 0;
    const isFull = ids.size >= longestRun || length + ownLength > longestRunText;
    if (runs.length === 0 || isFull || ids.has(quotedProviderMessageId)) {
      runs.push([]);
      ids = new Set();
      length = 0;
    }
    length += ownLength;
    runs.at(-1)!.push(one);
    ids.add(one.event.providerMessageId);
  }
  return runs;
}

/**
 * Accepts messages of people in the order of their arrival. Their ids are derived from the platform's, so a repeated
 * webhook is the same message. The reason of a refused message is stored with its webhook; the others are accepted.
 */
async function receiveSome(deps: ReceiveDeps, inbound: readonly InboundMessage[]): Promise<void> {
  const places = await settlePlaces(deps, inbound, await findPlacesPatiently(deps, inbound));
  const ready: { one: InboundMessage; file: ReceivedFile | null; message: NewMessage }[] = [];
  const refused: Refused[] = [];
  for (const [index, one] of inbound.entries()) {
    try {
      const place = places[index]!;
      const idOf = idsOf(one, deps.clock.now());
      const file = receivedFileOf(one, place.senderId, idOf);
      ready.push({ one, file, message: compose(one, place, file, idOf) });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      refused.push({ one, error });
    }
  }
  const messages = ready.map(({ message }) => message);
  await announceFiles(
    deps,
    ready.flatMap(({ file }) => file ?? []),
  );
  const results = await acceptPatiently(deps, messages);
  const received: ReceivedMessage[] = [];
  for (const [index, result] of results.entries()) {
    const { one } = ready[index]!;
    if (result.kind === "accepted") received.push({ ...one, ...result });
    else if (mayPass(result.error)) throw result.error;
    else refused.push({ one, error: result.error });
  }
  await noteRefused(deps, refused);
  await noteReceived(deps, received);
}

interface Refused {
  one: InboundMessage;
  error: RequestError;
}

/**
 * A platform may report a reply before it has responded to the request that sent the quoted message. Waits for that
 * attempt, about 3 s at most: without the quote, the reply could land in another conversation, and a reaction nowhere.
 * Does not wait for attempts that started later.
 */
async function findPlacesPatiently(deps: ReceiveDeps, inbound: readonly InboundMessage[]): Promise<InboundPlace[]> {
  let places = await findPlaces(deps, inbound);
  const sending = new Set(places.map(({ sendingId }) => sendingId));
  for (const pauseMs of quotePausesMs) {
    if (!places.some(({ sendingId }) => sendingId !== null && sending.has(sendingId))) break;
    await pause(deps.clock, pauseMs);
    places = await findPlaces(deps, inbound);
  }
  return places;
}

const quotePausesMs = [20, 50, 100, 200, 400, 800, 1_400];

/** Waits while the hub is overloaded: a webhook that got 200 is not given up. */
async function acceptPatiently(deps: ReceiveDeps, messages: readonly NewMessage[]): Promise<AcceptResult[]> {
  for (;;) {
    try {
      return await deps.acceptor.accept(messages);
    } catch (error) {
      if (!(error instanceof RequestError) || error.code !== "OVERLOADED") throw error;
      // The bus retries, and reports it.
      if (!isRecordFault(error) && !(error.cause instanceof BatcherFull)) throw error;
      await pause(deps.clock, overloadPauseMs);
    }
  }
}

const overloadPauseMs = 250;

/** The sender left the conversation meanwhile, or the hub failed: the record is handled again. */
function mayPass({ code }: RequestError): boolean {
  return code === "INTERNAL" || code === "RESOURCE_NOT_FOUND";
}

async function noteRefused({ db, log }: ReceiveDeps, refused: readonly Refused[]): Promise<void> {
  for (const [webhookId, those] of Map.groupBy(refused, ({ one }) => one.webhookId)) {
    const { error } = those[0]!;
    const why = { code: error.code, reason: error.message };
    log.warn({ webhook_id: webhookId, ...why, count: those.length }, "inbound messages were not accepted");
    const more = those.length === 1 ? "" : ` (and ${those.length - 1} more)`;
    await noteWebhookError(db, webhookId, error.message + more);
  }
}

/** The file that the message carries; its bytes are fetched later. */
function receivedFileOf({ account, event }: InboundMessage, senderId: string, idOf: IdOf): ReceivedFile | null {
  if (event.file === undefined) return null;
  const { workspaceId, channelAccountId } = account;
  return { ...event.file, fileId: idOf("file"), workspaceId, channelAccountId, senderId };
}

/** Ids are derived from the platform's id and time: the same webhook twice gives the same. */
type IdOf = (what: "inbound" | "file") => MessageId;

function idsOf({ account, event }: InboundMessage, nowMs: number): IdOf {
  const at = isTooFarAhead(event.at, nowMs) ? 0 : Math.max(0, event.at);
  return (what) => derivedId(at, what, account.channelAccountId, event.providerMessageId);
}

/** They are fetched while their messages are accepted. */
async function announceFiles({ db, clock, taskNotifier }: ReceiveDeps, files: readonly ReceivedFile[]): Promise<void> {
  const [first] = files;
  if (first === undefined) return;
  const { workspaceId } = first;
  await transaction(db, async (tx) => {
    const added = await addReceivedFiles(tx, files, new Date(clock.now()));
    for (const fileId of added) await requestFetch({ clock }, tx, { workspaceId, fileId });
  });
  taskNotifier.due();
}

/** Throws a `RequestError` for what cannot be stored. */
function compose(
  { account, webhookId, event }: InboundMessage,
  { senderId, conversationId, quoted, route }: SettledPlace,
  file: ReceivedFile | null,
  idOf: IdOf,
): NewMessage {
  const { channel, channelAccountId, workspaceId } = account;
  const { providerMessageId, identifier, at } = event;
  const quotedHere = quoted?.conversationId === conversationId ? quoted.messageId : null;
  const isReaction = event.payload.type === "reaction";
  if (isReaction && quotedHere === null) {
    throw new RequestError("VALIDATION_ERROR", "The reaction is to a message that is not in this conversation.");
  }
  const payload: MessagePayload =
    event.payload.type === "reaction" ? { ...event.payload, message_id: quotedHere! } : event.payload;
  return {
    workspaceId,
    messageId: idOf("inbound"),
    conversationId,
    senderId,
    mustBeMember: true,
    direction: "inbound",
    payload: storable(file === null ? payload : toFilePayload(file), "payload"),
    channels: null,
    options: null,
    to: null,
    replyTo: isReaction ? null : quotedHere,
    reactsTo: isReaction ? quotedHere : null,
    hasFile: file !== null,
    metadata: null,
    origin: JSON.stringify({
      channel,
      channel_account_id: channelAccountId,
      identifier,
      provider_message_id: providerMessageId,
      webhook_id: webhookId,
      route,
      // 0 without a time of the platform.
      sent_at: at === 0 ? null : new Date(at).toISOString(),
    }),
  };
}
