import type { Capabilities } from "../connectors/connector.ts";
import type { PayloadType } from "../messages/payload.ts";

export interface RoutedMessage {
  senderId: string;
  payloadType: PayloadType;
  /** As the sender asked: null for each recipient's default, `*` for all. */
  channels: string | null;
  via: Readonly<Record<string, string>>;
  /** Channels to try one after the other, or null. */
  fallbackOrder: readonly string[] | null;
}

export interface Recipient {
  participantId: string;
  kind: "user" | "contact" | "workspace";
  /** First address first. */
  addresses: readonly RecipientAddress[];
}

export interface RecipientAddress {
  channel: string;
  identifier: string;
  lastHeardAt: number | null;
  lastChannelAccountId: string | null;
}

/** An active channel account; the oldest comes first. */
export interface Account {
  channelAccountId: string;
  channel: string;
}

/** One message to one address, or why it cannot go. `route` says for the trace how that was decided. */
export type PlannedDelivery = { recipientId: string; route: string } & (
  | { kind: "app" }
  | { kind: "channel"; channel: string; identifier: string; channelAccountId: string }
  | { kind: "unroutable"; channel: string; identifier: string | null; code: string; reason: string }
);

export type CapabilitiesOf = (channel: string) => Capabilities | null;

/** Who gets the message, and where. Pure: the same facts give the same plan. */
export function planDeliveries(
  message: RoutedMessage,
  recipients: readonly Recipient[],
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
): PlannedDelivery[] {
  return recipients
    .filter((recipient) => recipient.participantId !== message.senderId)
    .flatMap((recipient) => planRecipient(message, recipient, accounts, capabilitiesOf));
}

function planRecipient(
  message: RoutedMessage,
  recipient: Recipient,
  accounts: readonly Account[],
  capabilitiesOf: CapabilitiesOf,
): PlannedDelivery[] {
  const recipientId = recipient.participantId;
  const planned: PlannedDelivery[] = [];
  if (recipient.kind !== "contact")
    planned.push({ kind: "app", recipientId, route: "a user gets everything in the app" });
  const { channels, why } = chooseChannels(message, recipient);
  const reached = channels.filter((channel) => recipient.addresses.some((address) => address.channel === channel));
  if (reached.length === 0 && recipient.kind === "contact") {
    const channel = channels[0] ?? "none";
    const reason = channels.length === 0 ? "has no address" : `has no address on ${channels.join(", ")}`;
    planned.push({
      kind: "unroutable",
      recipientId,
      channel,
      identifier: null,
      code: "NO_ADDRESS",
      reason,
      route: why,
    });
  }
  for (const channel of reached) {
    planned.push(planAddress(message, recipient, channel, accounts, capabilitiesOf, why));
  }
  return planned;
}

function chooseChannels(message: RoutedMessage, recipient: Recipient): { channels: string[]; why: string } {
  const own = [...new Set(recipient.addresses.map((address) => address.channel))];
  if (message.fallbackOrder !== null) {
    const first = message.fallbackOrder.find((channel) => own.includes(channel));
    return { channels: first === undefined ? [...message.fallbackOrder] : [first], why: "first of the fallback order" };
  }
  if (message.channels === "*") return { channels: own, why: "every channel of the recipient was asked for" };
  if (message.channels !== null) return { channels: message.channels.split(","), why: "the channel was asked for" };
  const heard = recipient.addresses.filter((address) => address.lastHeardAt !== null);
  const last = heard.toSorted((a, b) => b.lastHeardAt! - a.lastHeardAt!)[0];
  if (last !== undefined) return { channels: [last.channel], why: "the recipient was last heard here" };
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
  // Several addresses on one channel are aliases of one person: the one last heard from works, else the first given.
  const address = recipient.addresses
    .filter((candidate) => candidate.channel === channel)
    .toSorted((a, b) => (b.lastHeardAt ?? 0) - (a.lastHeardAt ?? 0))[0]!;
  const { identifier } = address;
  const unroutable = (code: string, reason: string): PlannedDelivery => {
    return { kind: "unroutable", recipientId, channel, identifier, code, reason, route: why };
  };
  const usable = accounts.filter((account) => account.channel === channel);
  const wanted = message.via[channel] ?? address.lastChannelAccountId;
  const account = usable.find((candidate) => candidate.channelAccountId === wanted) ?? usable[0];
  if (account === undefined) return unroutable("NO_CHANNEL_ACCOUNT", `no active ${channel} account is connected`);
  if (!capabilitiesOf(channel)?.payloads.includes(message.payloadType)) {
    return unroutable("PAYLOAD_NOT_SUPPORTED", `${channel} cannot carry a ${message.payloadType} message`);
  }
  return { kind: "channel", recipientId, channel, identifier, channelAccountId: account.channelAccountId, route: why };
}
