import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { ChannelAccount, Connector, ConnectorIo, Exchange, SendOutcome } from "../../connectors/connector.ts";
import { plainName } from "../../lib/names.ts";
import { splitText } from "../split-text.ts";
import type { StartedDelivery } from "./start-attempts.ts";

export interface SendResult {
  /** Of the last part that was sent. */
  outcome: SendOutcome;
  exchanges: readonly Exchange[];
  /** Ids of all parts that this and earlier attempts have sent. */
  sentParts: readonly string[];
  partCount: number;
}

const maxExchanges = 20;

/** Sends the remaining parts in order, until one fails. */
export async function sendDelivery(
  connector: Connector,
  account: ChannelAccount,
  delivery: StartedDelivery,
  io: ConnectorIo,
): Promise<SendResult> {
  const payloads = toParts(withAuthor(delivery), connector.capabilities.maxTextLength);
  const sentParts = [...delivery.sentParts];
  const exchanges: Exchange[] = [];
  let outcome: SendOutcome = { kind: "sent", providerMessageId: sentParts.at(-1) ?? "" };
  for (let partIndex = sentParts.length; partIndex < payloads.length && outcome.kind === "sent"; partIndex += 1) {
    const part = {
      deliveryId: delivery.deliveryId,
      partIndex,
      identifier: delivery.identifier,
      payload: payloads[partIndex]!,
      quotedProviderMessageId: partIndex === 0 ? delivery.quotedProviderMessageId : null,
      targetProviderMessageId: delivery.targetProviderMessageId,
    };
    outcome = await connector.send(part, account, io);
    if (outcome.exchange !== undefined && exchanges.length < maxExchanges) exchanges.push(outcome.exchange);
    if (outcome.kind === "sent") sentParts.push(outcome.providerMessageId);
  }
  return { outcome, exchanges, sentParts, partCount: payloads.length };
}

function withAuthor({ payload, author }: StartedDelivery): MessagePayload {
  if (author === null || payload.type !== "text") return payload;
  // Names are checked on input; an old name is cleaned here.
  return { ...payload, text: `${plainName(author) ?? "?"}: ${payload.text}` };
}

function toParts(payload: MessagePayload, maxTextLength: number): MessagePayload[] {
  if (payload.type !== "text") return [payload];
  return splitText(payload.text, maxTextLength).map((text) => ({ type: "text", text }));
}
