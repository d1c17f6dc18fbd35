import { join } from "node:path";
import type { Role } from "./config/config.ts";
import { connectors } from "./connectors/registry.ts";
import type { Context } from "./context.ts";
import {
  type AcceptedRecord,
  consumerGroup,
  giveUpRouting,
  openDeliverer,
  routeMessages,
} from "./deliveries/deliveries.ts";
import { openFilesToSend } from "./files/files.ts";
import { type HttpServerOptions, openHttpServer } from "./http-server.ts";
import { failWebhook, type InboundRecord, receiveWebhooks } from "./inbound/inbound.ts";
import { faultCode } from "./lib/faults.ts";
import { collectStartGarbage } from "./lib/start-garbage.ts";
import { startMaintenance } from "./maintenance.ts";
import { watchKeys } from "./sealed-columns.ts";
import { extractKind, factsKind, fetchKind, scanKind, summarizeKind, TaskRunner } from "./tasks/tasks.ts";
import { topics } from "./topics.ts";
import { watchProgress } from "./watch-progress.ts";
import { startWebhookEndpoints } from "./webhook-endpoints/webhook-endpoints.ts";

interface Part {
  name: string;
  /** A process with one of these roles runs it; without them every process does. */
  roles?: readonly Role[];
  start(context: Context, http: HttpServerOptions): Running | Promise<Running>;
}

/** Takes no new work and finishes what is under way. */
export interface Running {
  close(): Promise<void>;
}

/** A step that reads a topic of the bus, writes where it says, and may run twice on the same input. */
interface Step extends Part {
  reads: string;
  group: string;
  writes: readonly string[];
}

/**
 * The path of a message.
 *
 *     POST /v1/messages ─▶ accept ─▶ route ─▶ deliver ─▶ platform
 *     platform ─▶ POST /webhooks ─▶ receive ─▶ accept (what people write) · receipts (what became of ours)
 *
 *     what these change ─▶ events, in the same transaction ─▶ sockets · streams · GET /v1/events · webhook endpoints
 *
 * `messages/accept.ts` commits what clients send, `inbound/webhooks.ts` what platforms call; both publish on the bus.
 */
export const steps: readonly Step[] = [
  {
    name: "step route",
    roles: ["router"],
    reads: topics.messageProcessing,
    group: "route",
    writes: connectors.map(({ channel }) => topics.outgoing(channel)),
    start({ pipelineDb: db, bus, eventNotifier, clock, capabilitiesOf }) {
      const deps = { db, bus, eventNotifier, clock, capabilitiesOf };
      return bus.subscribe<AcceptedRecord>(topics.messageProcessing, "route", {
        maxBatch: 500,
        handle: (records) => routeMessages(deps, records),
        giveUp: (record, error) => giveUpRouting(deps, record, error),
      });
    },
  },
  {
    name: "step receive",
    roles: ["router"],
    reads: topics.inbound,
    group: "receive",
    writes: [topics.messageProcessing],
    start({ pipelineDb: db, bus, eventNotifier, taskNotifier, clock, log, acceptor, connectorFor, accounts }) {
      const notifiers = { eventNotifier, taskNotifier };
      const deps = { db, bus, ...notifiers, clock, log, acceptor, connectorFor, findAccount: accounts.get };
      return bus.subscribe<InboundRecord>(topics.inbound, "receive", {
        maxBatch: 200,
        // A slow channel account holds up only the accounts of its own partition.
        partitionsAtOnce: 4,
        handle: (records) => receiveWebhooks(deps, records),
        giveUp: ({ value }, error) => failWebhook(db, value, { code: faultCode(error), now: new Date(clock.now()) }),
      });
    },
  },
  ...connectors.map((connector): Step => {
    const { channel } = connector;
    return {
      name: `step deliver ${channel}`,
      roles: ["connector", `connector:${channel}`],
      reads: topics.outgoing(channel),
      group: consumerGroup,
      writes: [channel],
      start(context) {
        const { pipelineDb: db, bus, eventNotifier, log, troubles, accounts, connectorIo: io, isOnlyProcess } = context;
        const { store, links, clock } = context.files;
        const { concurrency, retryBaseMs, retryMaxMs, retryTotalMs, unknownGraceMs } = context.config.delivery;
        const deliverer = openDeliverer({
          db,
          bus,
          eventNotifier,
          log,
          troubles,
          connector,
          io,
          isOnlyProcess,
          accounts,
          findFile: openFilesToSend({ db, store, links, clock }),
          policy: { baseMs: retryBaseMs, maxMs: retryMaxMs, totalMs: retryTotalMs, unknownGraceMs },
          concurrency,
        });
        context.deliverers.set(channel, deliverer);
        return deliverer;
      },
    };
  }),
];

/** Accepts what requests and webhooks hand over; its queue is opened with the context. */
const accept: Part = {
  name: "step accept",
  roles: ["api", "router"],
  start: ({ acceptor, inboundWebhooks }) => ({
    close: async () => void (await Promise.all([acceptor.idle(), inboundWebhooks.idle()])),
  }),
};

const webhookEndpoints: Part = {
  name: "webhook endpoints",
  roles: ["tasks"],
  start({ config, pipelineDb: db, endpointHttp: http, eventNotifier, clock, random, log, secretBox, troubles }) {
    const { allowPrivate } = config.webhooks;
    if (allowPrivate)
      log.info("webhook endpoints and platforms may be on private IP addresses: WEBHOOKS_ALLOW_PRIVATE is true");
    const { leaseMs } = config.bus;
    return startWebhookEndpoints({
      db,
      http,
      clock,
      random,
      log,
      secretBox,
      troubles,
      allowPrivate,
      eventNotifier,
      leaseMs,
    });
  },
};

const tasks: Part = {
  name: "tasks",
  roles: ["tasks"],
  start(context) {
    const { config, pipelineDb: db, clock, log, troubles, taskNotifier, eventNotifier, languageModel } = context;
    const { concurrency, perUser } = config.tasks;
    const files = { db, store: context.files.store, clock, temporaryFolder: join(config.dataDir, "tasks") };
    const summarize = summarizeKind({ ...files, box: context.secretBox, languageModel });
    const kinds = [extractKind(files), factsKind(files), summarize];
    const deps = { db, clock, log, troubles, taskNotifier, eventNotifier };
    return new TaskRunner({ ...deps, kinds, leaseMs: config.bus.leaseMs, concurrency, perUser });
  },
};

/** Beside the other tasks, which may take minutes: messages and people wait for these. */
const fetches: Part = {
  name: "fetches and scans of files",
  roles: ["tasks"],
  start(context) {
    const { config, pipelineDb: db, clock, log, troubles, taskNotifier, eventNotifier } = context;
    const { accounts, connectorFor, connectorIo: io, files, clamd } = context;
    const { acceptsUnscanned } = config.files;
    const kinds = [
      fetchKind({ db, accounts, connectorFor, io, ...files }),
      scanKind({ db, log, troubles, clamd, acceptsUnscanned, ...files }),
    ];
    const deps = { db, clock, log, troubles, taskNotifier, eventNotifier };
    const bounds = { concurrency: fetchesAtOnce, perUser: fetchesAtOnce };
    return new TaskRunner({ ...deps, kinds, leaseMs: config.bus.leaseMs, ...bounds });
  },
};

const fetchesAtOnce = 8;

const maintenance: Part = { name: "maintenance jobs", roles: ["tasks"], start: startMaintenance };
const progressWatch: Part = { name: "progress watch", start: (context) => watchProgress(context, steps) };
const keyWatch: Part = { name: "key watch", start: watchKeys };
const startGarbage: Part = { name: "garbage of the start", start: ({ clock }) => collectStartGarbage(clock) };
const httpServer: Part = { name: "HTTP server", roles: ["api", "realtime"], start: openHttpServer };

/**
 * Every long-running part of the hub, in stages. The hub starts the parts one by one, in this order: the progress watch
 * needs the steps. It closes the stages in reverse, and the parts of a stage side by side.
 */
export const flow: readonly (readonly Part[])[] = [
  [accept, ...steps, webhookEndpoints, tasks, fetches, maintenance, progressWatch, keyWatch, startGarbage],
  [httpServer],
];

export function isRunBy(own: readonly Role[], { roles }: Part): boolean {
  return roles === undefined || roles.some((role) => own.includes(role));
}
