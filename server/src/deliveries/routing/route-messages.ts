import type { Bus, BusRecord } from "../../bus/bus.ts";
import type { PipelineDb } from "../../database-roles.ts";
import type { EventNotifier } from "../../events/events.ts";
import type { Clock } from "../../lib/clock.ts";
import { derivedId } from "../../lib/ids.ts";
import type { Db } from "../../lib/query.ts";
import { topics } from "../../topics.ts";
import { loadRouting, type MessageToRoute } from "./load-routing.ts";
import { type CapabilitiesOf, type PlannedDelivery, planDeliveries } from "./plan.ts";
import { type NewDelivery, setSuperseded, writeDeliveries } from "./write-deliveries.ts";

export interface AcceptedRecord {
  workspaceId: string;
  messageId: string;
  retryOf?: { recipientId: string; channel: string };
}

interface RouterDeps {
  db: PipelineDb;
  bus: Bus;
  eventNotifier: EventNotifier;
  clock: Clock;
  capabilitiesOf: CapabilitiesOf;
}

const routeBatchSize = 500;

/**
 * One message → one delivery for each recipient and address. Safe to run twice: the ids of deliveries are derived from
 * their content.
 */
export async function routeMessages(deps: RouterDeps, records: readonly BusRecord<AcceptedRecord>[]): Promise<void> {
  for (let start = 0; start < records.length; start += routeBatchSize) {
    await routeBatch(deps, records.slice(start, start + routeBatchSize));
  }
}

async function routeBatch(deps: RouterDeps, records: readonly BusRecord<AcceptedRecord>[]): Promise<void> {
  const { db, bus, eventNotifier, clock, capabilitiesOf } = deps;
  const routing = await loadRouting(db, records);
  const deliveries = routing.messages.flatMap((message) => {
    const recipients = routing.recipientsOf(message.conversationId);
    const accounts = routing.accountsOf(message.workspaceId);
    return planDeliveries(message, recipients, accounts, capabilitiesOf).map((planned) =>
      toDelivery(bus, message, planned),
    );
  });
  const routed = new Map(routing.messages.map(({ conversationId, seq }) => [conversationId, { conversationId, seq }]));
  const { channels } = await writeDeliveries(db, deliveries, [...routed.values()], new Date(clock.now()));
  await supersede(db, records, deliveries);
  for (const channel of channels) bus.wake(topics.outgoing(channel));
  for (const workspaceId of workspacesToNotify(deliveries)) eventNotifier.notify(workspaceId);
}

/** A delivery with a fallback is no dead letter: a replay would reach the person twice. */
async function supersede(
  db: Db,
  records: readonly BusRecord<AcceptedRecord>[],
  deliveries: readonly NewDelivery[],
): Promise<void> {
  for (const { value } of records) {
    const { messageId, retryOf } = value;
    if (retryOf === undefined) continue;
    const isReached = deliveries.some(
      (one) => one.messageId === messageId && one.recipientId === retryOf.recipientId && one.status === "accepted",
    );
    await setSuperseded(db, messageId, retryOf, isReached);
  }
}

/** Deliveries that did not start as `pending`. */
function workspacesToNotify(deliveries: readonly NewDelivery[]): Set<string> {
  return new Set(deliveries.filter(({ status }) => status !== "accepted").map(({ workspaceId }) => workspaceId));
}

export function toDelivery(
  bus: Pick<Bus, "partitionOf">,
  message: MessageToRoute,
  planned: PlannedDelivery,
): NewDelivery {
  const channel = planned.kind === "app" ? "app" : planned.channel;
  const identifier = planned.kind === "app" ? null : planned.identifier;
  const channelAccountId = planned.kind === "channel" ? planned.channelAccountId : null;
  const laneId = planned.kind === "channel" ? laneOf(planned.channelAccountId, planned.identifier) : null;
  return {
    deliveryId: derivedId(
      message.createdAt.getTime(),
      message.messageId,
      planned.recipientId,
      channel,
      identifier ?? "",
    ),
    workspaceId: message.workspaceId,
    messageId: message.messageId,
    conversationId: message.conversationId,
    seq: message.seq,
    recipientId: planned.recipientId,
    channel,
    identifier,
    channelAccountId,
    laneId,
    partition: laneId === null ? null : bus.partitionOf(laneId),
    topic: topics.outgoing(channel),
    route: planned.route,
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
