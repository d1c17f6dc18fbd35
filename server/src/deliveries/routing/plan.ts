import type { PayloadType } from "../../../../contract/src/payloads.ts";
import type { Capabilities } from "../../connectors/connector.ts";

export interface RoutedMessage {
  senderId: string;
  payloadType: PayloadType;
  /** As requested: null for each recipient's default, `*` for all. */
  channels: string | null;
  via: Readonly<Record<string, string>>;
  /** Channels to try in turn, or null. */
  fallbackOrder: readonly string[] | null;
  /** Only this recipient and the channels after this one, where delivery has failed. */
  retryOf: { recipientId: string; channel: string } | null;
}

export interface Recipient {
  participantId: string;
  kind: "user" | "contact" | "workspace";
  addresses: readonly RecipientAddress[];
}

interface RecipientAddress {
  channel: string;
  identifier: string;
  lastReceivedAt: number | null;
  lastChannelAccountId: string | null;
}

export interface Account {
  channelAccountId: string;
  channel: string;
  /** False while it needs attention: its deliveries wait. */
  isActive: boolean;
}

/** One message to one address, or why it cannot be sent. `route` is the explanation in the trace. */
export type PlannedDelivery = { recipientId: string; channel: string; route: string; hasFallback?: boolean } & (
  | { kind: "app"; identifier: null }
  | { kind: "channel"; identifier: string; channelAccountId: string }
  | { kind: "unroutable"; identifier: string | null; code: string; reason: string }
);

export type CapabilitiesOf = (channel: string) => Capabilities | null;

/** Decides who gets the message, and where. Pure. */
export function planDeliveries(
  message: RoutedMessage,
  recipients: readonly Recipient[],
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
): PlannedDelivery[] {
  const { senderId, retryOf } = message;
  const others = recipients.filter(({ participantId }) => participantId !== senderId);
  return others
    .filter(({ participantId }) => (retryOf?.recipientId ?? participantId) === participantId)
    .filter(({ kind }) => kind !== "workspace" || isForWorkspace(senderId, recipients, others))
    .flatMap((recipient) => planRecipient(message, recipient, accounts, capabilitiesOf));
}

/**
 * The workspace gets what contacts write, and what is sent to it alone, but not messages of its own people to others.
 */
function isForWorkspace(senderId: string, recipients: readonly Recipient[], others: readonly Recipient[]): boolean {
  const isFromContact = recipients.some(({ participantId, kind }) => participantId === senderId && kind === "contact");
  return isFromContact || others.every(({ kind }) => kind === "workspace");
}

function planRecipient(
  message: RoutedMessage,
  recipient: Recipient,
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
): PlannedDelivery[] {
  const { participantId: recipientId, kind, addresses } = recipient;
  const { fallbackOrder, retryOf } = message;
  const planned: PlannedDelivery[] = [];
  if (kind !== "contact" && retryOf === null) {
    const route = "a user gets everything in the app";
    planned.push({ kind: "app", recipientId, channel: "app", identifier: null, route });
  }
  const { channels, why } = chooseChannels(message, recipient);
  const candidates = channels
    .filter((channel) => addresses.some((address) => address.channel === channel))
    .map((channel) => planAddress(message, recipient, channel, accounts, capabilitiesOf, why));
  if (candidates.length === 0 && kind === "contact" && retryOf === null) {
    const channel = channels[0] ?? "none";
    const reason = channels.length === 0 ? "has no address" : `has no address on ${channels.join(", ")}`;
    const nowhere = { recipientId, channel, identifier: null, route: why };
    planned.push({ ...nowhere, kind: "unroutable", code: "NO_ADDRESS", reason });
  }
  return [...planned, ...(fallbackOrder === null ? candidates : firstOf(candidates))];
}

/** The first that can be sent; the others follow if it does not deliver. */
function firstOf(candidates: readonly PlannedDelivery[]): PlannedDelivery[] {
  const reachable = candidates.filter(({ kind }) => kind === "channel");
  const first = reachable[0] ?? candidates[0];
  return first === undefined ? [] : [{ ...first, hasFallback: reachable.length > 1 }];
}

function chooseChannels(message: RoutedMessage, recipient: Recipient): { channels: readonly string[]; why: string } {
  const { fallbackOrder, retryOf } = message;
  if (fallbackOrder !== null && retryOf !== null) {
    const left = fallbackOrder.slice(fallbackOrder.indexOf(retryOf.channel) + 1);
    return { channels: left, why: `${retryOf.channel} did not deliver` };
  }
  if (fallbackOrder !== null) return { channels: fallbackOrder, why: "first of the fallback order" };
  const own = [...new Set(recipient.addresses.map((address) => address.channel))];
  if (message.channels === "*") return { channels: own, why: "every channel of the recipient was asked for" };
  if (message.channels !== null)
    return { channels: [...new Set(message.channels.split(","))], why: "the channel was asked for" };
  const used = recipient.addresses.filter((address) => address.lastReceivedAt !== null);
  const last = used.toSorted((a, b) => b.lastReceivedAt! - a.lastReceivedAt!)[0];
  if (last !== undefined) return { channels: [last.channel], why: "the recipient's last message came here" };
  return { channels: own.slice(0, 1), why: "the recipient's first address" };
}

function planAddress(
  message: RoutedMessage,
  recipient: Recipient,
  channel: string,
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
  why: string,
): PlannedDelivery {
  const recipientId = recipient.participantId;
  // Addresses on one channel are aliases of one person: the one of the last message works, else the first.
  const address = recipient.addresses
    .filter((candidate) => candidate.channel === channel)
    .toSorted((a, b) => (b.lastReceivedAt ?? 0) - (a.lastReceivedAt ?? 0))[0]!;
  const at = { recipientId, channel, identifier: address.identifier, route: why };
  const usable = accounts.filter((account) => account.channel === channel);
  const wanted = message.via[channel] ?? address.lastChannelAccountId;
  const account =
    usable.find((candidate) => candidate.channelAccountId === wanted) ??
    usable.find((candidate) => candidate.isActive) ??
    usable[0];
  if (account === undefined) {
    const reason = `no active ${channel} account is connected`;
    return { ...at, kind: "unroutable", code: "NO_CHANNEL_ACCOUNT", reason };
  }
  if (!capabilitiesOf(channel)?.payloads.includes(message.payloadType)) {
    const reason = `${channel} cannot carry a ${message.payloadType} message`;
    return { ...at, kind: "unroutable", code: "PAYLOAD_NOT_SUPPORTED", reason };
  }
  return { ...at, kind: "channel", channelAccountId: account.channelAccountId };
}
