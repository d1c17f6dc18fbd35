import { maxTextLength } from "../../../contract/src/payloads.ts";
import type { Capabilities } from "../connectors/connector.ts";
import { appChannel, formatAddress, type HeldAddress, type Participant } from "../contacts/contacts.ts";
import { type Principal, seesAddressesOf, type Viewer } from "../credentials/credentials.ts";
import type { ConversationId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import { getConversation } from "./conversation.ts";

/** Whether free-form messages may be sent to an address now; `none` where the channel has no such window. */
export interface MessagingWindow {
  state: "none" | "open" | "closed";
  closesAt: Date | null;
}

const hourMs = 3_600_000;

/** The window that a person's last message opened on a channel. */
export function windowOf(windowHours: number | null, lastReceivedAt: Date | null, nowMs: number): MessagingWindow {
  if (windowHours === null) return { state: "none", closesAt: null };
  const closesAtMs = lastReceivedAt === null ? 0 : lastReceivedAt.getTime() + windowHours * hourMs;
  return closesAtMs > nowMs ? { state: "open", closesAt: new Date(closesAtMs) } : { state: "closed", closesAt: null };
}

/** A member does not see when another's window closes: that reveals when the person last wrote. */
export function showWindow({ state, closesAt }: MessagingWindow, viewer: Viewer, participantId: string) {
  const isTimeShown = seesAddressesOf(viewer, participantId);
  return { state, closes_at: isTimeShown ? (closesAt?.toISOString() ?? null) : null };
}

interface ChannelCapabilities
  extends Pick<Capabilities, "payloads" | "maxTextLength" | "media" | "receipts" | "replies" | "typing" | "readMarks"> {
  channel: string;
  addresses: string[];
  window: MessagingWindow;
}

export interface MemberCapabilities extends Participant {
  channels: ChannelCapabilities[];
}

export type CapabilitiesOf = (channel: string) => Capabilities | null;

export async function getCapabilities(
  { db, nowMs, capabilitiesOf }: { db: Db; nowMs: number; capabilitiesOf: CapabilitiesOf },
  principal: Principal,
  conversationId: ConversationId,
): Promise<MemberCapabilities[]> {
  const { members } = await getConversation(db, principal, conversationId);
  return members.map((member) => {
    const byChannel = Map.groupBy(member.addresses, (address) => address.channel);
    const channels = [...byChannel].flatMap(([channel, addresses]) => {
      const capabilities = capabilitiesOf(channel);
      return capabilities === null ? [] : [describeChannel(channel, capabilities, addresses, nowMs)];
    });
    return { ...member, channels: member.kind === "user" ? [inApp, ...channels] : channels };
  });
}

/** Every user has the hub's own channel, without an address; it supports everything. */
const inApp: ChannelCapabilities = {
  channel: appChannel,
  addresses: [],
  payloads: ["text", "file", "location", "template", "reaction"],
  maxTextLength,
  media: [],
  receipts: ["delivered", "read"],
  replies: true,
  typing: "always",
  readMarks: true,
  window: { state: "none", closesAt: null },
};

function describeChannel(
  channel: string,
  { windowHours, ...capabilities }: Capabilities,
  addresses: HeldAddress[],
  nowMs: number,
): ChannelCapabilities {
  const times = addresses.map((address) => address.lastReceivedAt?.getTime() ?? 0);
  const lastReceivedMs = Math.max(...times);
  const window = windowOf(windowHours, lastReceivedMs === 0 ? null : new Date(lastReceivedMs), nowMs);
  return { ...capabilities, channel, addresses: addresses.map(formatAddress), window };
}
