import type { accountStatuses } from "../../../contract/src/channel-accounts.ts";
import type { AccountProblem, Channel, ChannelAccount, ChannelAccountSettings } from "../connectors/connector.ts";
import type { Clock } from "../lib/clock.ts";
import type { ChannelAccountId } from "../lib/ids.ts";

export type ChannelAccountStatus = (typeof accountStatuses)[number];

/** SQL: whether an account is connected, so that messages to it are accepted and routed. */
export const isConnected = "deleted_at IS NULL AND status <> 'disabled'";

export interface AccountAttention {
  readonly reason: AccountProblem;
  readonly detail: string;
}

export interface ChannelAccountView {
  readonly channelAccountId: ChannelAccountId;
  readonly workspaceId: string;
  readonly channel: Channel;
  readonly name: string;
  readonly status: ChannelAccountStatus;
  /** The platform's id of the number or bot. Never changes. */
  readonly externalId: string;
  readonly settings: ChannelAccountSettings;
  readonly createdAt: Date;
  readonly statusSince: Date;
  readonly attention: AccountAttention | null;
}

/** An account with its decrypted credentials, for the pipeline. In memory only: never logged, never stored. */
export interface ConnectedAccount extends ChannelAccount {
  readonly workspaceId: string;
  readonly status: ChannelAccountStatus;
  /** When its status changed last, by `Clock.elapsed`. */
  readonly statusFromMs: number;
  readonly version: number;
}

/** The part of a wait that counts against a retry limit: time since the account's status changed last. */
export function countedWaitMs(account: ConnectedAccount, waitedMs: number, clock: Clock): number {
  return Math.min(waitedMs, clock.elapsed() - account.statusFromMs);
}

export interface ChannelAccountHealth {
  readonly status: ChannelAccountStatus;
  /** `open`: the platform failed too often, and nothing is sent; `half_open`: one probe is under way. */
  readonly breaker: "closed" | "open" | "half_open";
  readonly last_error: { readonly detail: string; readonly at: string } | null;
  readonly rate_per_second: number;
  readonly in_flight: number;
  /** Lanes that wait for their next attempt, or for the account to be active again. */
  readonly parked_lanes: number;
  readonly pending: number;
}
