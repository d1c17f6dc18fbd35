import { setImmediate as othersTurn } from "node:timers/promises";
import type { MessagePayload } from "../../../contract/src/payloads.ts";
import type { Bus } from "../bus/bus.ts";
import type { RequestDb } from "../database-roles.ts";
import { columnValues, rowsOf } from "../lib/columns.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { isServerError, type Log } from "../lib/postgres.ts";
import { plainArray } from "../lib/query.ts";
import { countSteps, type MessageRouter, type NewMessage, type RoutePlan } from "../messages/messages.ts";
import { topics } from "../topics.ts";
import {
  loadAccounts,
  loadFewMembers,
  type Members,
  type MessageToRoute,
  readOptions,
  type StoredOptions,
} from "./routing/load-routing.ts";
import { type CapabilitiesOf, planDeliveries } from "./routing/plan.ts";
import { toDelivery } from "./routing/route-messages.ts";
import { deliveryColumns, type NewDelivery, plannedArray, toWritten } from "./routing/write-deliveries.ts";
import type { Reservation } from "./sending/deliverer.ts";
import { onePartBytes, type StartedDelivery } from "./sending/start-attempts.ts";

interface RouteDeps {
  /** The connections for accepting: it waits for nothing that steps do. */
  dbOf: (workspaceId: string) => RequestDb;
  bus: Pick<Bus, "partitionOf" | "wake">;
  log: Log;
  capabilitiesOf: CapabilitiesOf;
  /** Null where the channel has no deliverer in this process, or it cannot start the delivery now. */
  reserve: (channel: string, laneId: string, channelAccountId: ChannelAccountId) => Reservation | null;
}

/** Members of a conversation whose messages are routed at once; larger ones go to the step. */
const mostMembers = 16;
const mostDeliveries = 2_000;
/** Messages that are planned in one turn of the event loop. */
const plannedAtATime = 100;

interface Held {
  reservation: Reservation;
  started: StartedDelivery;
}

/**
 * Plans the deliveries of messages before they are accepted, for the statement that accepts them. It starts those whose
 * lane is idle here; the others are published. What it does not plan is routed by the step.
 */
export function openRouter(deps: RouteDeps): MessageRouter {
  return {
    async plan(messages, now) {
      try {
        return await planRoutes(deps, messages, now);
      } catch (error) {
        deps.log.info({ err: error, messages: messages.length }, "messages could not be planned: the step does it");
        return null;
      }
    },
  };
}

async function planRoutes(deps: RouteDeps, messages: readonly NewMessage[], now: Date): Promise<RoutePlan | null> {
  const { dbOf, bus, capabilitiesOf } = deps;
  const { workspaceId } = messages[0]!;
  const db = dbOf(workspaceId);
  const conversationIds = [...new Set(messages.map((message) => message.conversationId))];
  const [membersOf, accounts] = await Promise.all([
    loadFewMembers(db, workspaceId, conversationIds, mostMembers),
    loadAccounts(db, [workspaceId]),
  ]);
  const steps = countSteps(messages).ofMessages;
  const deliveries: NewDelivery[] = [];
  const held = new Map<string, Held>();
  let isWhole = true;
  using release = new DisposableStack();
  release.defer(() => releaseAll(held, true));
  for (const [index, message] of messages.entries()) {
    const members = membersOf.get(message.conversationId);
    const payload = JSON.parse(message.payload) as MessagePayload;
    const toRoute = routeOf(message, payload, steps[index]!, now);
    const planned = planDeliveries(toRoute, members?.recipients ?? [], accounts, capabilitiesOf);
    const isFromMember = !message.mustBeMember || members?.ids.includes(message.senderId) === true;
    const isReached = planned.every(({ kind }) => kind !== "unroutable");
    isWhole &&= isFromMember && isReached && planned.some(({ kind }) => kind === "channel");
    // The commit checks that what was planned can still be sent, not whether the rest now could be: the step does that.
    if (!isReached) {
      membersOf.delete(message.conversationId);
      continue;
    }
    for (const one of planned) {
      const delivery = toDelivery(bus, toRoute, one);
      if (one.kind === "channel") hold(deps, held, delivery, message, payload, now);
      deliveries.push(delivery);
    }
    if (deliveries.length > mostDeliveries) return null;
    if ((index + 1) % plannedAtATime === 0) await othersTurn();
  }
  if (membersOf.size === 0) return null;
  release.move();
  return toPlan(deps, membersOf, deliveries, held, isWhole);
}

function toPlan(
  { bus, log }: RouteDeps,
  membersOf: ReadonlyMap<string, Members>,
  deliveries: readonly NewDelivery[],
  held: Map<string, Held>,
  isWhole: boolean,
): RoutePlan {
  return {
    conversations: membersOf,
    isWhole,
    text: (first, accepted) => `planned AS MATERIALIZED (
      SELECT ${plannedArray("(b.bases ->> i.conversation_id::text)::bigint + i.seq")} AS deliveries
      FROM (SELECT jsonb_object_agg(conversation_id, base) AS bases FROM moved WHERE is_routed) b, ${rowsOf(deliveryColumns, first + 2)}
      WHERE b.bases ? i.conversation_id::text
    ), published AS MATERIALIZED (
      SELECT w.started, w.channel FROM (${accepted}) a, planned p
      CROSS JOIN LATERAL write_deliveries($1, p.deliveries, 'deliver', a.events, a.event_count, $${first}, $${first + 1}) w
    )`,
    values: [
      plainArray([...membersOf.keys()]),
      [...membersOf.values()].map(({ ids }) => plainArray(ids)),
      ...columnValues(deliveryColumns, deliveries),
    ],
    written(rows) {
      const { started, channels } = toWritten(rows);
      for (const channel of new Set(channels)) bus.wake(topics.outgoing(channel));
      for (const [deliveryId, { reservation, started: delivery }] of held) {
        if (started.has(deliveryId)) reservation.start(delivery);
        else reservation.release(true);
      }
      held.clear();
    },
    failed(error) {
      log.info({ err: error, deliveries: deliveries.length }, "messages could not be routed at once: the step does it");
      releaseAll(held, isServerError(error));
    },
  };
}

function releaseAll(held: Map<string, Held>, isKnown: boolean): void {
  for (const { reservation } of held.values()) reservation.release(isKnown);
  held.clear();
}

function routeOf(message: NewMessage, payload: MessagePayload, seq: number, createdAt: Date): MessageToRoute {
  const { workspaceId, messageId, conversationId, senderId, channels } = message;
  const options: StoredOptions | null = message.options === null ? null : JSON.parse(message.options);
  return {
    workspaceId,
    messageId,
    conversationId,
    seq,
    senderId,
    payloadType: payload.type,
    channels,
    ...readOptions(options),
    retryOf: null,
    createdAt,
  };
}

/** Not for what quotes a message, has a file, or names its author: that is read when the attempt starts. */
function hold(
  deps: RouteDeps,
  held: Map<string, Held>,
  delivery: NewDelivery,
  message: NewMessage,
  payload: MessagePayload,
  now: Date,
): void {
  if (payload.type === "text") {
    const limit = onePartBytes(deps.capabilitiesOf(delivery.channel)!);
    if (Buffer.byteLength(payload.text) > limit) delivery.partCount = 2;
  }
  if (payload.type === "file") return;
  if (message.direction !== "outbound" || message.replyTo !== null || message.reactsTo !== null) return;
  const { deliveryId, workspaceId, messageId } = delivery;
  const channelAccountId = delivery.channelAccountId as ChannelAccountId;
  const ids = { deliveryId, workspaceId, messageId, channelAccountId };
  const reservation = deps.reserve(delivery.channel, delivery.laneId!, channelAccountId);
  if (reservation === null) return;
  delivery.starter = reservation.starter;
  held.set(deliveryId, {
    reservation,
    started: {
      kind: "started",
      ...ids,
      identifier: delivery.identifier!,
      attempt: 1,
      startedAt: now,
      retriedForMs: 0,
      sentParts: [],
      payload,
      author: null,
      quotedProviderMessageId: null,
      targetProviderMessageId: null,
    },
  });
}
