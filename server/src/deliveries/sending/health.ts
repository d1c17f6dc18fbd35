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
  const capabilities = deps.connectorFor(channel)?.capabilities;
  const rate = account?.settings.rate_per_second ?? capabilities?.ratePerSecond ?? 0;
  const unused = { breaker: "closed", lastError: null, ratePerSecond: rate, inFlight: 0, parkedLanes: 0 } as const;
  const health = deps.deliverers.get(channel)?.health(channelAccountId) ?? unused;
  const { pending } = await one<{ pending: number }>(
    deps.db,
    "SELECT count(*) AS pending FROM deliveries WHERE channel_account_id = $1 AND is_pending",
    [channelAccountId],
  );
  return {
    status: account?.status ?? "disabled",
    breaker: health.breaker,
    last_error: health.lastError,
    rate_per_second: health.ratePerSecond,
    in_flight: health.inFlight,
    parked_lanes: health.parkedLanes,
    pending,
  };
}
