import type { accountStatuses } from "../../../contract/src/channel-accounts.ts";
import type { AccountProblem, Channel, ChannelAccount, ChannelAccountSettings } from "../connectors/connector.ts";
import type { Clock } from "../lib/clock.ts";

export type ChannelAccountStatus = (typeof accountStatuses)[number];

/** SQL: whether an account is connected, so that messages to it are accepted and routed. */
export const isConnected = "deleted_at IS NULL AND status <> 'disabled'";

/** `detail` is the platform's answer. */
export interface AccountAttention {
  readonly reason: AccountProblem;
  readonly detail: string;
}

/** An account without its credentials. */
export interface ChannelAccountView {
  readonly channelAccountId: string;
  readonly workspaceId: string;
  readonly channel: Channel;
  readonly name: string;
  readonly status: ChannelAccountStatus;
  /** The platform's id of the number or bot. Never changes. */
  readonly externalId: string;
  readonly settings: ChannelAccountSettings;
  readonly createdAt: Date;
  readonly statusSince: Date;
  /** Null unless it needs attention. */
  readonly attention: AccountAttention | null;
}

/** An account with its decrypted credentials, for the pipeline. In memory only: never logged, never stored. */
export interface ConnectedAccount extends ChannelAccount {
  readonly workspaceId: string;
  readonly status: ChannelAccountStatus;
  /** When its status changed last, by `Clock.elapsed`. */
  readonly statusFromMs: number;
  /** Increases with every change. */
  readonly version: number;
}

/** The part of a wait that counts against a retry limit: time since the account's status changed last. */
export function countedWaitMs(account: ConnectedAccount, waitedMs: number, clock: Clock): number {
  return Math.min(waitedMs, clock.elapsed() - account.statusFromMs);
}

/** Fields as in the answer of `GET /v1/channel-accounts/{id}/health`. */
export interface ChannelAccountHealth {
  readonly status: ChannelAccountStatus;
  /** `open`: the platform failed too often, and nothing is sent; `half_open`: one probe is under way. */
  readonly breaker: "closed" | "open" | "half_open";
  /** Of the platform or the credentials; null when there was none since the start. */
  readonly last_error: { readonly detail: string; readonly at: string } | null;
  /** The limit in force. */
  readonly rate_per_second: number;
  /** Requests to the platform under way. */
  readonly in_flight: number;
  /** Lanes that wait for their next attempt, or for the account to be active again. */
  readonly parked_lanes: number;
  /** Deliveries still to be sent. */
  readonly pending: number;
}
