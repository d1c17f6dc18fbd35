import type { PreflightRecipient, NewMessage as SendBody } from "../../../../contract/src/messages.ts";
import type { Capabilities } from "../../connectors/connector.ts";
import { mediaKindOf } from "../../connectors/media.ts";
import { type Address, findParticipantByAddress, formatAddress, requireUsersAt } from "../../contacts/contacts.ts";
import { findConversation, type MessagingWindow, showWindow, windowOf } from "../../conversations/conversations.ts";
import { type Principal, reachesContacts, seesAddressesOf } from "../../credentials/credentials.ts";
import type { RequestDb } from "../../database-roles.ts";
import type { ConversationId } from "../../lib/ids.ts";
import { type Db, maybe } from "../../lib/query.ts";
import { channelsOf } from "../../messages/messages.ts";
import { splitText } from "../split-text.ts";
import { loadAccounts, loadRecipients, readOptions, recipientColumns } from "./load-routing.ts";
import { type Account, type CapabilitiesOf, type PlannedDelivery, planDeliveries, type Recipient } from "./plan.ts";

interface PreflightDeps {
  db: RequestDb;
  nowMs: number;
  /** Of a payload of the type `file`; else null. */
  file: SentFile | null;
  capabilitiesOf: CapabilitiesOf;
}

/**
 * What a send would do; creates nothing. `to` is the address of `body.to`. Throws RESOURCE_NOT_FOUND for a conversation
 * that the caller may not see, FORBIDDEN for an address that it may not reach.
 */
export async function preflight(
  deps: PreflightDeps,
  principal: Principal,
  body: SendBody,
  senderId: string,
  to: Address | null,
): Promise<PreflightRecipient[]> {
  const { db, capabilitiesOf } = deps;
  const recipients =
    to === null
      ? await membersOf(db, principal, body.conversation_id as ConversationId)
      : [await personAt(db, principal, to)];
  const accounts = await loadAccounts(db, [principal.workspaceId]);
  const message = {
    senderId,
    payloadType: body.payload.type,
    channels: channelsOf(body),
    ...readOptions(body),
    retryOf: null,
  };
  const planned = planDeliveries(message, recipients, accounts, capabilitiesOf);
  return planned.map((delivery) => {
    const { recipientId, channel, identifier } = delivery;
    const { window, ...foreseen } = foresee(deps, body, recipients, accounts, delivery);
    const isShown = identifier !== null && seesAddressesOf(principal, recipientId);
    return {
      participant_id: recipientId || null,
      channel,
      address: isShown ? formatAddress({ channel, identifier }) : null,
      ...foreseen,
      can_send: foreseen.reason === null,
      window: showWindow(window, principal, recipientId),
    };
  });
}

async function membersOf(db: Db, principal: Principal, conversationId: ConversationId): Promise<Recipient[]> {
  await findConversation(db, principal, conversationId);
  return loadRecipients(db, [conversationId]);
}

/** The participant with the address, or the contact that sending would create. */
async function personAt(db: Db, principal: Principal, to: Address): Promise<Recipient> {
  const { workspaceId } = principal;
  const participantId = reachesContacts(principal)
    ? await findParticipantByAddress(db, workspaceId, to)
    : (await requireUsersAt(db, workspaceId, [{ address: to, field: "to" }]))[0]!;
  const found = `SELECT ${recipientColumns} FROM participants p WHERE participant_id = $1`;
  const known = participantId === null ? null : await maybe<Recipient>(db, found, [participantId]);
  const addressOnly = { ...to, lastReceivedAt: null, lastChannelAccountId: null };
  return known ?? { participantId: "", kind: "contact", addresses: [addressOnly] };
}

/** What decides in which form a channel takes a file. */
interface SentFile {
  contentType: string;
  bytes: number;
}

type Foreseen = Pick<PreflightRecipient, "channel_account_id" | "reason" | "needs" | "adaptations"> & {
  window: MessagingWindow;
};

function foresee(
  { nowMs, file, capabilitiesOf }: PreflightDeps,
  body: SendBody,
  recipients: readonly Recipient[],
  accounts: readonly Account[],
  planned: PlannedDelivery,
): Foreseen {
  if (planned.kind !== "channel") {
    const reason = planned.kind === "app" ? null : planned.code;
    const window = { state: "none" as const, closesAt: null };
    return { channel_account_id: null, reason, window, needs: null, adaptations: [] };
  }
  const { recipientId, channel, identifier, channelAccountId } = planned;
  const capabilities = capabilitiesOf(channel)!;
  const known = recipients
    .find((recipient) => recipient.participantId === recipientId)
    ?.addresses.find((one) => one.channel === channel && one.identifier === identifier);
  const receivedAt = known?.lastReceivedAt == null ? null : new Date(known.lastReceivedAt);
  const window = windowOf(capabilities.windowHours, receivedAt, nowMs);
  const needsTemplate = window.state === "closed" && body.payload.type !== "template";
  const isActive = accounts.some((account) => account.channelAccountId === channelAccountId && account.isActive);
  return {
    channel_account_id: channelAccountId,
    reason: needsTemplate ? "WINDOW_CLOSED" : isActive ? null : "CHANNEL_ACCOUNT_NEEDS_ATTENTION",
    window,
    needs: needsTemplate ? "template" : null,
    adaptations: adaptationsOf(body, file, capabilities),
  };
}

function adaptationsOf({ payload, reply_to }: SendBody, file: SentFile | null, capabilities: Capabilities): string[] {
  const parts = payload.type === "text" ? splitText(payload.text, capabilities.maxTextLength).length : 1;
  const kind = file === null ? undefined : mediaKindOf(capabilities.media, file);
  const caption = payload.type === "file" ? (payload.caption ?? "") : "";
  return [
    ...(kind === null ? ["sent as link"] : []),
    ...(kind != null && caption.length > kind.maxCaptionLength ? ["caption sent as text"] : []),
    ...(parts > 1 ? [`split into ${parts}`] : []),
    ...(reply_to !== undefined && !capabilities.replies ? ["sent without the quote"] : []),
  ];
}
