import type {
  ChannelAccount,
  Connector,
  ConnectorIo,
  Exchange,
  OutboundFile,
  SendOutcome,
} from "../../connectors/connector.ts";
import type { FileToSend } from "../../files/files.ts";
import { toParts } from "./parts.ts";
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

/**
 * Sends the remaining parts in order, until one fails. `file`: of a message with one. Throws `FileUnreadable` when the
 * hub could not read it before anything was sent.
 */
export async function sendDelivery(
  connector: Connector,
  account: ChannelAccount,
  delivery: StartedDelivery,
  file: Exclude<FileToSend, { kind: "pending" }> | null,
  io: ConnectorIo,
): Promise<SendResult> {
  if (file?.kind === "gone") return { ...nothing(delivery), outcome: fileGone };
  const parts = toParts(delivery, connector.capabilities, file);
  const sentParts = [...delivery.sentParts];
  const exchanges: Exchange[] = [];
  let outcome: SendOutcome = { kind: "sent", providerMessageId: sentParts.at(-1) ?? "" };
  for (let partIndex = sentParts.length; partIndex < parts.length && outcome.kind === "sent"; partIndex += 1) {
    const part = parts[partIndex]!;
    const source = part.file === null ? null : watched(part.file);
    try {
      outcome = await connector.send(
        {
          deliveryId: delivery.deliveryId,
          partIndex,
          identifier: delivery.identifier,
          payload: part.payload,
          quotedProviderMessageId: partIndex === 0 ? delivery.quotedProviderMessageId : null,
          targetProviderMessageId: delivery.targetProviderMessageId,
          ...(source && { file: source }),
        },
        account,
        io,
      );
    } catch (error) {
      if (source?.failure() == null) throw error;
      outcome = fileUnreadable;
    }
    if (outcome.kind !== "sent" && outcome.kind !== "unknown" && source?.failure() != null) {
      if (sentParts.length === delivery.sentParts.length) throw new FileUnreadable(source.failure()!);
      outcome = fileUnreadable;
    }
    if (outcome.exchange !== undefined && exchanges.length < maxExchanges) exchanges.push(outcome.exchange);
    if (outcome.kind === "sent") sentParts.push(outcome.providerMessageId);
    if (outcome.kind !== "refused" || outcome.isOfFile !== true || part.instead.length === 0) continue;
    // Again from this part.
    parts.splice(partIndex, 1, ...part.instead);
    outcome = { kind: "sent", providerMessageId: sentParts.at(-1) ?? "" };
    partIndex -= 1;
  }
  return { outcome, exchanges, sentParts, partCount: parts.length };
}

export function nothing({ sentParts }: StartedDelivery): Omit<SendResult, "outcome"> {
  return { exchanges: [], sentParts, partCount: 1 };
}

/** The store of files failed: it says nothing about the message or the platform. */
export class FileUnreadable extends Error {
  override readonly name = "FileUnreadable";

  constructor(cause: unknown) {
    super("The store of files cannot be read now.", { cause });
  }
}

const fileUnreadable: SendOutcome = {
  kind: "retry",
  afterMs: null,
  scope: "lane",
  platformFault: false,
  detail: "The store of files cannot be read now.",
};

const fileGone: SendOutcome = { kind: "refused", reason: "FILE_GONE", detail: "The file was deleted." };

/** Knows whether the bytes could not be read. */
function watched(file: OutboundFile): OutboundFile & { failure(): unknown } {
  let failure: unknown = null;
  return {
    ...file,
    async open() {
      try {
        const stream = await file.open();
        return stream.on("error", (error) => (failure = error));
      } catch (error) {
        failure = error;
        throw error;
      }
    },
    failure: () => failure,
  };
}
