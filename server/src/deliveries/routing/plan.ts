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
export type PlannedDelivery = { recipientId: string; route: string; hasFallback?: boolean } & (
  | { kind: "app" }
  | { kind: "channel"; channel: string; identifier: string; channelAccountId: string }
  | { kind: "unroutable"; channel: string; identifier: string | null; code: string; reason: string }
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
  const recipientId = recipient.participantId;
  const planned: PlannedDelivery[] = [];
  if (recipient.kind !== "contact" && message.retryOf === null) {
    planned.push({ kind: "app", recipientId, route: "a user gets everything in the app" });
  }
  if (message.fallbackOrder !== null) {
    return [...planned, ...planFallback(message, recipient, message.fallbackOrder, accounts, capabilitiesOf)];
  }
  const { channels, why } = chooseChannels(message, recipient);
  const reached = channels.filter((channel) => recipient.addresses.some((address) => address.channel === channel));
  if (reached.length === 0 && recipient.kind === "contact") planned.push(noAddress(recipientId, channels, why));
  for (const channel of reached) {
    planned.push(planAddress(message, recipient, channel, accounts, capabilitiesOf, why));
  }
  return planned;
}

/** The first channel of the order that reaches the recipient; the others follow if it does not deliver. */
function planFallback(
  message: RoutedMessage,
  recipient: Recipient,
  order: readonly string[],
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
): PlannedDelivery[] {
  const left = message.retryOf === null ? order : order.slice(order.indexOf(message.retryOf.channel) + 1);
  const why = message.retryOf === null ? "first of the fallback order" : `${message.retryOf.channel} did not deliver`;
  const candidates = left
    .filter((channel) => recipient.addresses.some((address) => address.channel === channel))
    .map((channel) => planAddress(message, recipient, channel, accounts, capabilitiesOf, why));
  const reachable = candidates.filter((candidate) => candidate.kind === "channel");
  const first = reachable[0] ?? candidates[0];
  if (first !== undefined) return [{ ...first, hasFallback: reachable.length > 1 }];
  const isMissed = recipient.kind === "contact" && message.retryOf === null;
  return isMissed ? [noAddress(recipient.participantId, order, why)] : [];
}

function noAddress(recipientId: string, channels: readonly string[], route: string): PlannedDelivery {
  const channel = channels[0] ?? "none";
  const reason = channels.length === 0 ? "has no address" : `has no address on ${channels.join(", ")}`;
  return { kind: "unroutable", recipientId, channel, identifier: null, code: "NO_ADDRESS", reason, route };
}

function chooseChannels(message: RoutedMessage, recipient: Recipient): { channels: string[]; why: string } {
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
  const { identifier } = address;
  const unroutable = (code: string, reason: string): PlannedDelivery => {
    return { kind: "unroutable", recipientId, channel, identifier, code, reason, route: why };
  };
  const usable = accounts.filter((account) => account.channel === channel);
  const wanted = message.via[channel] ?? address.lastChannelAccountId;
  const account =
    usable.find((candidate) => candidate.channelAccountId === wanted) ??
    usable.find((candidate) => candidate.isActive) ??
    usable[0];
  if (account === undefined) return unroutable("NO_CHANNEL_ACCOUNT", `no active ${channel} account is connected`);
  if (!capabilitiesOf(channel)?.payloads.includes(message.payloadType)) {
    return unroutable("PAYLOAD_NOT_SUPPORTED", `${channel} cannot carry a ${message.payloadType} message`);
  }
  return { kind: "channel", recipientId, channel, identifier, channelAccountId: account.channelAccountId, route: why };
}
