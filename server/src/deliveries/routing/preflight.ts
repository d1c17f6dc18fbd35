import type { PreflightRecipient, NewMessage as SendBody } from "../../../../contract/src/messages.ts";
import type { Capabilities } from "../../connectors/connector.ts";
import {
  type Address,
  describeParticipants,
  findParticipantByAddress,
  formatAddress,
  requireUsersAt,
} from "../../contacts/contacts.ts";
import { findConversation, type MessagingWindow, showWindow, windowOf } from "../../conversations/conversations.ts";
import { type Principal, reachesContacts, seesAddressesOf } from "../../credentials/credentials.ts";
import type { RequestDb } from "../../database-roles.ts";
import type { ConversationId } from "../../lib/ids.ts";
import { all, type Db } from "../../lib/query.ts";
import { channelsOf } from "../../messages/messages.ts";
import { splitText } from "../split-text.ts";
import { loadAccounts, loadRecipients } from "./load-routing.ts";
import { type Account, type CapabilitiesOf, type PlannedDelivery, planDeliveries, type Recipient } from "./plan.ts";

interface PreflightDeps {
  db: RequestDb;
  nowMs: number;
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
    via: body.via ?? {},
    fallbackOrder: body.fallback?.order ?? null,
    retryOf: null,
  };
  const planned = planDeliveries(message, recipients, accounts, capabilitiesOf);
  return planned.map((delivery) => {
    const { window, ...foreseen } = whereRefused(accounts, foresee(deps, body, recipients, delivery));
    const { recipientId } = delivery;
    return {
      ...foreseen,
      address: seesAddressesOf(principal, recipientId) ? foreseen.address : null,
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
  const unknown = { participantId: "", kind: "contact" as const };
  const addressOnly = { ...to, lastReceivedAt: null, lastChannelAccountId: null };
  if (participantId === null) return { ...unknown, addresses: [addressOnly] };
  const participant = (await describeParticipants(db, [participantId])).get(participantId);
  const rows = await all<{ channel: string; identifier: string; received: Date | null; account: string | null }>(
    db,
    `SELECT channel, identifier, last_heard_at AS received, last_channel_account_id AS account
     FROM addresses WHERE participant_id = $1 ORDER BY ordinal`,
    [participantId],
  );
  const addresses = rows.map(({ channel, identifier, received, account }) => {
    return { channel, identifier, lastReceivedAt: received?.getTime() ?? null, lastChannelAccountId: account };
  });
  return { participantId, kind: participant?.kind ?? "contact", addresses };
}

type Foreseeing = Omit<PreflightRecipient, "window"> & { window: MessagingWindow };

function foresee(
  { nowMs, capabilitiesOf }: PreflightDeps,
  body: SendBody,
  recipients: readonly Recipient[],
  planned: PlannedDelivery,
): Foreseeing {
  const nowhere = {
    channel_account_id: null,
    window: { state: "none" as const, closesAt: null },
    needs: null,
    adaptations: [],
  };
  const participant_id = planned.recipientId || null;
  if (planned.kind === "app") {
    return { ...nowhere, participant_id, channel: "app", address: null, can_send: true, reason: null };
  }
  const { channel, identifier } = planned;
  const address = identifier === null ? null : formatAddress({ channel, identifier });
  if (planned.kind === "unroutable") {
    return { ...nowhere, participant_id, channel, address, can_send: false, reason: planned.code };
  }
  const capabilities = capabilitiesOf(channel)!;
  const known = recipients
    .find((recipient) => recipient.participantId === planned.recipientId)
    ?.addresses.find((one) => one.channel === channel && one.identifier === identifier);
  const receivedAt = known?.lastReceivedAt == null ? null : new Date(known.lastReceivedAt);
  const window = windowOf(capabilities.windowHours, receivedAt, nowMs);
  const needsTemplate = window.state === "closed" && body.payload.type !== "template";
  return {
    participant_id,
    channel,
    address,
    channel_account_id: planned.channelAccountId,
    can_send: !needsTemplate,
    reason: needsTemplate ? "WINDOW_CLOSED" : null,
    window,
    needs: needsTemplate ? "template" : null,
    adaptations: adaptationsOf(body, capabilities),
  };
}

function whereRefused(accounts: readonly Account[], foreseen: Foreseeing): Foreseeing {
  const account = accounts.find(({ channelAccountId }) => channelAccountId === foreseen.channel_account_id);
  if (account === undefined || account.isActive || !foreseen.can_send) return foreseen;
  return { ...foreseen, can_send: false, reason: "CHANNEL_ACCOUNT_NEEDS_ATTENTION" };
}

function adaptationsOf({ payload, reply_to }: SendBody, capabilities: Capabilities): string[] {
  const parts = payload.type === "text" ? splitText(payload.text, capabilities.maxTextLength).length : 1;
  return [
    ...(parts > 1 ? [`split into ${parts}`] : []),
    ...(reply_to !== undefined && !capabilities.replies ? ["sent without the quote"] : []),
  ];
}
