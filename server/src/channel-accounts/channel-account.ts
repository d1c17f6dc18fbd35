import type { Channel, ChannelAccount, ChannelAccountSettings } from "../connectors/connector.ts";

/** An account that is disabled neither sends nor receives, and keeps everything it has. */
export const accountStatuses = ["active", "disabled"] as const;
export type ChannelAccountStatus = (typeof accountStatuses)[number];

/** An account as clients see it: without its credentials. */
export interface ChannelAccountView {
  readonly channelAccountId: string;
  readonly workspaceId: string;
  readonly channel: Channel;
  readonly name: string;
  readonly status: ChannelAccountStatus;
  /** What the platform calls it: the id of a number or a bot. Never changes. */
  readonly externalId: string;
  readonly settings: ChannelAccountSettings;
  readonly createdAt: Date;
}

/** An account as the pipeline uses it, credentials unsealed. Stays in memory: never logged, never stored. */
export interface ConnectedAccount extends ChannelAccount {
  readonly workspaceId: string;
  readonly status: ChannelAccountStatus;
  /** Rises with every change. */
  readonly version: number;
}

/** How sending over an account goes right now, in the words of `GET /v1/channel-accounts/{id}/health`. */
export interface ChannelAccountHealth {
  /** `open`: the platform failed too often and is left alone; `half_open`: one probe is under way. */
  readonly breaker: "closed" | "open" | "half_open";
  /** The last failure of the platform or the credentials; null when there was none since the start. */
  readonly last_error: { readonly detail: string; readonly at: string } | null;
  /** The limit in force. */
  readonly rate_per_second: number;
  /** Requests to the platform under way. */
  readonly in_flight: number;
  /** Lanes that wait for their next attempt. */
  readonly parked_lanes: number;
  /** Deliveries still to be sent. */
  readonly pending: number;
}
