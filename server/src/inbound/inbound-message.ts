import type { ChannelAccount, Connector, InboundEvent } from "../connectors/connector.ts";
import type { PipelineDeps } from "../deliveries/deliveries.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { Acceptor } from "../messages/messages.ts";
import type { TaskNotifier } from "../tasks/tasks.ts";

export type ReceivingAccount = ChannelAccount & { workspaceId: string };

export interface ReadDeps extends Pick<PipelineDeps, "log"> {
  connectorFor: (channel: string) => Connector | undefined;
  findAccount: (channelAccountId: ChannelAccountId) => Promise<ReceivingAccount | null>;
}

export interface ReceiveDeps extends ReadDeps, Pick<PipelineDeps, "db" | "bus" | "eventNotifier" | "clock"> {
  acceptor: Pick<Acceptor, "accept">;
  taskNotifier: Pick<TaskNotifier, "due">;
}

export interface InboundMessage {
  account: ReceivingAccount;
  webhookId: string;
  event: InboundEvent & { kind: "message" };
}
