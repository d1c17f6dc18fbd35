import type { Bus } from "../bus/bus.ts";
import type { ChannelAccount, Connector, InboundEvent } from "../connectors/connector.ts";
import type { PipelineDb } from "../database-roles.ts";
import type { EventNotifier } from "../events/events.ts";
import type { Clock } from "../lib/clock.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import type { Acceptor } from "../messages/messages.ts";

export type ReceivingAccount = ChannelAccount & { workspaceId: string };

export interface ReadDeps {
  log: Log;
  connectorFor: (channel: string) => Connector | undefined;
  findAccount: (channelAccountId: ChannelAccountId) => Promise<ReceivingAccount | null>;
}

export interface ReceiveDeps extends ReadDeps {
  db: PipelineDb;
  bus: Bus;
  eventNotifier: EventNotifier;
  clock: Clock;
  acceptor: Pick<Acceptor, "accept">;
}

export interface InboundMessage {
  account: ReceivingAccount;
  webhookId: string;
  event: InboundEvent & { kind: "message" };
}
