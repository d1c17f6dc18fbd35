import type { Role } from "./config/config.ts";
import { connectors } from "./connectors/registry.ts";
import type { Context } from "./context.ts";
import { consumerGroup, openDeliverer } from "./deliveries/deliverer.ts";
import { refuseAccount } from "./deliveries/refuse-account.ts";
import { failWebhook, type InboundRecord, receiveWebhooks } from "./inbound/inbound.ts";
import { faultCode } from "./lib/faults.ts";
import type { Pool } from "./lib/postgres.ts";
import { applyToParts } from "./receipts/part-receipts.ts";
import { applyEarlyReceipts } from "./receipts/receipts.ts";
import { giveUpRouting } from "./router/give-up-routing.ts";
import { type AcceptedRecord, routeMessages } from "./router/router.ts";
import { topics } from "./topics.ts";

/**
 * The path of a message. Every step reads one topic, writes where it says, and may run twice on the same input.
 *
 *     POST /v1/messages ─▶ accept ─▶ route ─▶ deliver ─▶ platform
 *     platform ─▶ POST /webhooks ─▶ receive ─▶ accept (what people write) · receipts (what became of ours)
 *
 *     whatever these change ─▶ events, in the same transaction ─▶ sockets · streams · GET /v1/events · webhook endpoints
 *
 * The door `rest/` begins it: `messages/accept.ts` commits what clients send, `inbound/webhooks.ts` what platforms
 * call.
 */
export const flow: readonly Step[] = [
  {
    step: "route",
    role: "router",
    reads: topics.messageProcessing,
    group: "route",
    writes: connectors.map(({ channel }) => topics.outgoing(channel)),
    start: (context) =>
      context.bus.subscribe<AcceptedRecord>(topics.messageProcessing, "route", {
        maxBatch: 500,
        handle: (records) => routeMessages(onPipeline(context), records),
        giveUp: (record, error) => giveUpRouting(onPipeline(context), record, error),
      }),
  },
  {
    step: "receive",
    role: "router",
    reads: topics.inbound,
    group: "receive",
    writes: [topics.messageProcessing],
    start: (context) =>
      context.bus.subscribe<InboundRecord>(topics.inbound, "receive", {
        maxBatch: 200,
        // A slow channel account holds up only the accounts of its own partition.
        partitionsAtOnce: 4,
        handle: (records) => receiveWebhooks(onPipeline(context), records),
        giveUp: ({ value }, error) =>
          failWebhook(context.pipelineDb, value, { code: faultCode(error), now: new Date(context.clock.now()) }),
      }),
  },
  ...connectors.map((connector): Step => {
    const { channel } = connector;
    return {
      step: `deliver ${channel}`,
      role: `connector:${channel}`,
      reads: topics.outgoing(channel),
      group: consumerGroup,
      writes: [channel],
      start(context) {
        const { delivery } = context.config;
        const deliverer = openDeliverer({
          ...onPipeline(context),
          connector,
          io: context.connectorIo,
          findAccount: context.accounts.get,
          refuseAccount: (account, refusal) => refuseAccount(context, account, refusal),
          applyToParts: (deliveryId) => applyToParts(onPipeline(context), deliveryId, []),
          applyEarly: (parts) => applyEarlyReceipts(onPipeline(context), parts),
          policy: {
            baseMs: delivery.retryBaseMs,
            maxMs: delivery.retryMaxMs,
            totalMs: delivery.retryTotalMs,
            unknownGraceMs: delivery.unknownGraceMs,
          },
          concurrency: delivery.concurrency,
        });
        context.deliverers.set(channel, deliverer);
        return deliverer;
      },
    };
  }),
];

export interface Step {
  step: string;
  /** `connector:<channel>` is also started by `connector`. */
  role: Role;
  reads: string;
  /** The consumer group. */
  group: string;
  writes: readonly string[];
  start(context: Context): { close(): Promise<void> };
}

/** The steps that a process with these roles runs. */
export function stepsOf(roles: readonly Role[]): Step[] {
  return flow.filter(
    ({ role }) => roles.includes(role) || (role.startsWith("connector:") && roles.includes("connector")),
  );
}

/** The steps work for all workspaces, see `Context.pipelineDb`. */
function onPipeline(context: Context): Context & { db: Pool } {
  return { ...context, db: context.pipelineDb };
}
