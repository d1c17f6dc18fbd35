import type { ChannelAccounts, ConnectedAccount } from "../../channel-accounts/channel-accounts.ts";
import type { SendOutcome } from "../../connectors/connector.ts";
import type { PipelineDeps } from "../pipeline-deps.ts";

export type AccountRefusal = SendOutcome & { kind: "account_refused" };

export interface RefuseDeps extends Pick<PipelineDeps, "log" | "eventNotifier"> {
  accounts: Pick<ChannelAccounts, "needsAttention">;
}

/** Sets the account to `needs_attention`, unless it changed since the refused call. Its deliveries wait. */
export async function refuseAccount(
  { accounts, log, eventNotifier }: RefuseDeps,
  account: ConnectedAccount,
  { reason, detail }: AccountRefusal,
): Promise<void> {
  if (!(await accounts.needsAttention(account, { reason, detail }))) return;
  const { channel, channelAccountId: channel_account_id, workspaceId } = account;
  log.warn(
    { channel, channel_account_id, reason, detail },
    "the platform refuses a channel account: it needs attention",
  );
  eventNotifier.notify(workspaceId);
}
