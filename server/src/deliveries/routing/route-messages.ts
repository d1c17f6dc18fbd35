import type { Bus, BusRecord } from "../../bus/bus.ts";
import { derivedId } from "../../lib/ids.ts";
import { inParts } from "../../lib/in-parts.ts";
import { type Db, run } from "../../lib/query.ts";
import { topics } from "../../topics.ts";
import type { PipelineDeps } from "../pipeline-deps.ts";
import {
  type AcceptedRecord,
  loadAccounts,
  loadMessages,
  loadRecipients,
  type MessageToRoute,
} from "./load-routing.ts";
import { type PlannedDelivery, planDeliveries } from "./plan.ts";
import { type NewDelivery, writeDeliveries } from "./write-deliveries.ts";

type RouterDeps = Pick<PipelineDeps, "db" | "bus" | "eventNotifier" | "clock" | "capabilitiesOf">;

const routeBatchSize = 500;
/** In one statement, about: a large group has 100 for each message. */
const mostDeliveries = 1_000;

/**
 * One message → one delivery for each recipient and address. Safe to run twice: the ids of deliveries are derived from
 * their content.
 */
export async function routeMessages(deps: RouterDeps, records: readonly BusRecord<AcceptedRecord>[]): Promise<void> {
  for (const some of inParts(records, () => 1, routeBatchSize)) await routeBatch(deps, some);
}

async function routeBatch(deps: RouterDeps, records: readonly BusRecord<AcceptedRecord>[]): Promise<void> {
  const { db, bus, eventNotifier, clock, capabilitiesOf } = deps;
  const values = records.map((record) => record.value);
  const conversationIds = [...new Set(records.map((record) => record.key))];
  const workspaceIds = [...new Set(values.map((value) => value.workspaceId))];
  // The key of a record is its conversation, so the three statements need not wait for each other.
  const [messages, recipients, accounts] = await Promise.all([
    loadMessages(db, values),
    loadRecipients(db, conversationIds),
    loadAccounts(db, workspaceIds),
  ]);
  const recipientsOf = Map.groupBy(recipients, (recipient) => recipient.conversationId);
  const accountsOf = Map.groupBy(accounts, (account) => account.workspaceId);
  const membersOf = ({ conversationId }: MessageToRoute) => recipientsOf.get(conversationId) ?? [];
  for (const some of inParts(messages, (message) => membersOf(message).length, mostDeliveries)) {
    const deliveries = some.flatMap((message) => {
      const own = accountsOf.get(message.workspaceId) ?? [];
      const planned = planDeliveries(message, membersOf(message), own, capabilitiesOf);
      return planned.map((one) => toDelivery(bus, message, one));
    });
    const routed = new Map(some.map(({ conversationId, seq }) => [conversationId, seq]));
    const channels = await writeDeliveries(db, deliveries, routed, new Date(clock.now()));
    for (const channel of channels) bus.wake(topics.outgoing(channel));
    const changed = deliveries.filter(({ status }) => status !== "accepted");
    for (const workspaceId of new Set(changed.map((one) => one.workspaceId))) eventNotifier.notify(workspaceId);
    for (const message of some) await supersede(db, message, deliveries);
  }
}

/** A delivery with a fallback is no dead letter: a replay would reach the person twice. */
async function supersede(db: Db, message: MessageToRoute, deliveries: readonly NewDelivery[]): Promise<void> {
  const { messageId, retryOf } = message;
  if (retryOf === null) return;
  const isReached = deliveries.some(
    (one) => one.messageId === messageId && one.recipientId === retryOf.recipientId && one.status === "accepted",
  );
  await run(
    db,
    `UPDATE deliveries SET is_superseded = $4
     WHERE message_id = $1 AND recipient_id = $2 AND channel = $3 AND is_superseded <> $4`,
    [messageId, retryOf.recipientId, retryOf.channel, isReached],
  );
}

export function toDelivery(
  bus: Pick<Bus, "partitionOf">,
  message: MessageToRoute,
  planned: PlannedDelivery,
): NewDelivery {
  const { workspaceId, messageId, conversationId, seq } = message;
  const { recipientId, channel, identifier, route } = planned;
  const ofMessage = { workspaceId, messageId, conversationId, seq };
  const channelAccountId = planned.kind === "channel" ? planned.channelAccountId : null;
  const laneId = planned.kind === "channel" ? laneOf(planned.channelAccountId, planned.identifier) : null;
  return {
    ...ofMessage,
    deliveryId: derivedId(message.createdAt.getTime(), messageId, recipientId, channel, identifier ?? ""),
    recipientId,
    channel,
    identifier,
    channelAccountId,
    laneId,
    partition: laneId === null ? null : bus.partitionOf(laneId),
    topic: topics.outgoing(channel),
    route,
    fallbackAfterSeconds: planned.hasFallback ? message.fallbackAfterSeconds : null,
    partCount: 1,
    starter: null,
    ...stateOf(planned),
  };
}

function stateOf(planned: PlannedDelivery): Pick<NewDelivery, "status" | "error" | "cause"> {
  switch (planned.kind) {
    case "app":
      return { status: "in_transit", error: null, cause: "waits in the app" };
    case "channel":
      return { status: "accepted", error: null, cause: "routed" };
    case "unroutable":
      return {
        status: "failed",
        error: JSON.stringify({ code: planned.code, message: `The recipient cannot be reached: ${planned.reason}.` }),
        cause: planned.code,
      };
    default:
      return planned satisfies never;
  }
}

/** The id of the lane of an account and an address, derived from both. */
export function laneOf(channelAccountId: string, identifier: string): string {
  return derivedId(0, "lane", channelAccountId, identifier);
}
