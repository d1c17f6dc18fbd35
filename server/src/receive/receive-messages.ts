import type { InboundEvent } from "../connectors/connector.ts";
import { findOrCreateContactByAddress } from "../contacts/contacts.ts";
import { findOrCreateDirect } from "../conversations/conversations.ts";
import { RequestError } from "../errors.ts";
import { pause } from "../lib/clock.ts";
import { derivedId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import type { Accepted } from "../messages/accept.ts";
import { storable } from "../messages/prepare.ts";
import type { InboundRoute } from "../messages/show.ts";
import type { NewMessage } from "../messages/write-messages.ts";
import { type KeptWebhook, noteWebhookError } from "../webhooks/webhooks.ts";
import { findPlaces, type InboundPlace, noteHeard } from "./places.ts";
import type { ReceiveDeps } from "./receive.ts";

export interface InboundMessage {
  webhook: KeptWebhook;
  channel: string;
  event: InboundEvent & { kind: "message" };
}

/**
 * Accepts what people wrote, in the order in which it came. A message's id is derived from the platform's, so the same
 * webhook twice is the same message; one that cannot be accepted is noted on its webhook and holds up no other.
 */
export async function receiveMessages(deps: ReceiveDeps, inbound: readonly InboundMessage[]): Promise<void> {
  if (inbound.length === 0) return;
  const places = await findPlaces(deps.db, inbound);
  const ready: { message: NewMessage; inbound: InboundMessage }[] = [];
  for (const [index, one] of inbound.entries()) {
    const place = places[index]!;
    const settled = place.conversationId !== null && place.senderId !== null && place.knowsAliases;
    const { senderId, conversationId, route } = settled ? (place as SettledPlace) : await settle(deps, one, place);
    const message = compose(one, senderId, conversationId, { quoted: place.quoted, route });
    if (message instanceof RequestError) await noteWebhookError(deps.db, one.webhook.webhookId, message.message);
    else ready.push({ message, inbound: one });
  }
  const heard: { one: InboundMessage; conversationId: string; messageId: string }[] = [];
  const results = await acceptPatiently(
    deps,
    ready.map(({ message }) => message),
  );
  for (const [index, result] of results.entries()) {
    const one = ready[index]!.inbound;
    if (result.kind === "accepted") heard.push({ one, ...result });
    else await noteRefusal(deps, one, result.error);
  }
  await noteHeard(deps, heard);
}

/** While the hub is overloaded it waits: what a platform was answered 200 for is not given up, and not set aside. */
async function acceptPatiently(deps: ReceiveDeps, messages: readonly NewMessage[]): Promise<Accepted[]> {
  for (;;) {
    try {
      return await deps.acceptor.accept(messages);
    } catch (error) {
      if (!(error instanceof RequestError) || error.code !== "OVERLOADED") throw error;
      await pause(deps.clock, overloadPauseMs);
    }
  }
}

const overloadPauseMs = 250;

/** Throws what may be another time: the sender left the conversation just now, or the hub failed. */
async function noteRefusal(deps: ReceiveDeps, { webhook }: InboundMessage, error: RequestError): Promise<void> {
  if (error.code === "INTERNAL" || error.code === "RESOURCE_NOT_FOUND") throw error;
  deps.log.warn({ err: error, webhook_id: webhook.webhookId }, "an inbound message was not accepted");
  await noteWebhookError(deps.db, webhook.webhookId, error.message);
}

type SettledPlace = { senderId: string; conversationId: string; route: InboundRoute };

/** The slow way: somebody new, or somebody whose conversation has to be found or made. */
async function settle(
  deps: ReceiveDeps,
  { webhook, channel, event }: InboundMessage,
  place: InboundPlace,
): Promise<SettledPlace> {
  const { workspaceId } = webhook;
  const { identifier, aliases, displayName } = event;
  return transaction(deps.db, async (tx) => {
    const given = { db: tx, clock: deps.clock };
    const senderId = await findOrCreateContactByAddress(given, {
      workspaceId,
      channel,
      identifier,
      aliases,
      displayName,
    });
    if (place.conversationId !== null && place.senderId === senderId)
      return { senderId, conversationId: place.conversationId, route: place.route };
    const pair = { workspaceId, senderId: workspaceId, recipientId: senderId, mayUseWorkspace: false };
    const { conversationId } = await findOrCreateDirect(given, pair);
    return { senderId, conversationId, route: "private" };
  });
}

function compose(
  { webhook, channel, event }: InboundMessage,
  senderId: string,
  conversationId: string,
  { quoted, route }: Pick<InboundPlace, "quoted" | "route">,
): NewMessage | RequestError {
  const { channelAccountId, workspaceId, webhookId } = webhook;
  const { providerMessageId, identifier, at } = event;
  const quotedHere = quoted?.conversationId === conversationId ? quoted.messageId : null;
  const isReaction = event.payload.type === "reaction";
  if (isReaction && quotedHere === null) {
    return new RequestError("VALIDATION_ERROR", "It reacts to a message that this conversation does not have.");
  }
  const content = event.payload.type === "reaction" ? { ...event.payload, message_id: quotedHere! } : event.payload;
  try {
    const payload = storable(content, "payload");
    return {
      workspaceId,
      messageId: derivedId(Math.max(0, at), "inbound", channelAccountId, providerMessageId),
      conversationId,
      senderId,
      mustBeMember: true,
      direction: "inbound",
      payload,
      channels: null,
      options: null,
      replyTo: isReaction ? null : quotedHere,
      reactsTo: isReaction ? quotedHere : null,
      metadata: null,
      origin: JSON.stringify({
        channel,
        channel_account_id: channelAccountId,
        identifier,
        provider_message_id: providerMessageId,
        webhook_id: webhookId,
        route,
        // 0: the platform gave no time.
        sent_at: at === 0 ? null : new Date(at).toISOString(),
      }),
    };
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}
