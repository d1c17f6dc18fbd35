import type { ChannelAccountHealth, ChannelAccounts } from "../../channel-accounts/channel-accounts.ts";
import type { Connector } from "../../connectors/connector.ts";
import type { ChannelAccountId } from "../../lib/ids.ts";
import { type Db, one } from "../../lib/query.ts";
import type { Deliverer } from "./deliverer.ts";

interface HealthDeps {
  db: Db;
  accounts: Pick<ChannelAccounts, "get">;
  deliverers: ReadonlyMap<string, Deliverer>;
  connectorFor: (channel: string) => Connector | undefined;
}

/** The state of a channel account as this process sees it, and how many deliveries wait in all processes. */
export async function readHealth(deps: HealthDeps, channelAccountId: ChannelAccountId): Promise<ChannelAccountHealth> {
  const account = await deps.accounts.get(channelAccountId);
  const channel = account?.channel ?? "";
  const health = deps.deliverers.get(channel)?.health(channelAccountId) ?? null;
  const { pending } = await one<{ pending: number }>(
    deps.db,
    "SELECT count(*) AS pending FROM deliveries WHERE channel_account_id = $1 AND is_pending",
    [channelAccountId],
  );
  return {
    status: account?.status ?? "disabled",
    breaker: health?.breaker ?? "closed",
    last_error: health?.lastError ?? null,
    rate_per_second:
      health?.ratePerSecond ??
      account?.settings.rate_per_second ??
      deps.connectorFor(channel)?.capabilities.ratePerSecond ??
      0,
    in_flight: health?.inFlight ?? 0,
    parked_lanes: health?.parkedLanes ?? 0,
    pending,
  };
}
