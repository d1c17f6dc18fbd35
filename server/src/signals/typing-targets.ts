import type { Principal } from "../credentials/credentials.ts";
import { type CapabilitiesOf, loadAccounts, loadRecipients, planDeliveries } from "../deliveries/deliveries.ts";
import type { ChannelAccountId, ConversationId } from "../lib/ids.ts";
import { all, type Db } from "../lib/query.ts";

export interface TypingTarget {
  recipientId: string;
  channel: string;
  channelAccountId: ChannelAccountId;
  identifier: string;
  messageId: string | null;
}

/** The other members on channels that show typing, at the addresses that a text of the caller would go to now. */
export async function findTyping(
  db: Db,
  { workspaceId, participantId }: Principal,
  conversationId: ConversationId,
  capabilitiesOf: CapabilitiesOf,
): Promise<TypingTarget[]> {
  const [recipients, accounts] = await Promise.all([
    loadRecipients(db, [conversationId]),
    loadAccounts(db, [workspaceId]),
  ]);
  const asNow = { channels: null, via: {}, fallbackOrder: null, retryOf: null };
  const text = { senderId: participantId, payloadType: "text" as const, ...asNow };
  const planned = planDeliveries(text, recipients, accounts, capabilitiesOf)
    .filter((delivery) => delivery.kind === "channel")
    .filter(({ channel }) => capabilitiesOf(channel)?.typing !== "never");
  if (planned.length === 0) return [];
  const known = await all<{ channel: string; identifier: string; account: string; message: string | null }>(
    db,
    `SELECT channel, identifier, last_channel_account_id AS account, last_provider_message_id AS message
     FROM addresses WHERE workspace_id = $1 AND (channel, identifier) IN (SELECT * FROM unnest($2::text[], $3::text[]))
       AND last_channel_account_id IS NOT NULL`,
    [workspaceId, planned.map(({ channel }) => channel), planned.map(({ identifier }) => identifier)],
  );
  return planned.map(({ recipientId, channel, identifier, channelAccountId }) => {
    const isTarget = (row: (typeof known)[number]) =>
      row.channel === channel && row.identifier === identifier && row.account === channelAccountId;
    return {
      recipientId,
      channel,
      identifier,
      channelAccountId: channelAccountId as ChannelAccountId,
      messageId: known.find(isTarget)?.message ?? null,
    };
  });
}
