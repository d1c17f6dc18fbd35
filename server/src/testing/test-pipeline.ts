import type { NewMessage as SendBody } from "../../../contract/src/messages.ts";
import type { Bus } from "../bus/bus.ts";
import { openPostgresBus } from "../bus/postgres-bus.ts";
import type { ChannelAccountStatus } from "../channel-accounts/channel-accounts.ts";
import type { Capabilities, Connector, OutboundPart, SendOutcome } from "../connectors/connector.ts";
import { noOrigin } from "../credentials/credentials.ts";
import { openDatabases } from "../databases.ts";
import {
  type AcceptedRecord,
  applyReceipts,
  type Deliverer,
  giveUpRouting,
  type JudgePolicy,
  laneOf,
  type OutgoingRecord,
  openDeliverer,
  openRouter,
  type Receipt,
  type Reservation,
  routeMessages,
} from "../deliveries/deliveries.ts";
import { openEventNotifier } from "../events/events.ts";
import type { FindFileToSend } from "../files/files.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { type ChannelAccountId, type ConversationId, newId } from "../lib/ids.ts";
import { type Log, openPool, type Pool } from "../lib/postgres.ts";
import { all, one, run } from "../lib/query.ts";
import { openTroubles } from "../lib/troubles.ts";
import { Acceptor, prepareMessage } from "../messages/messages.ts";
import { topics } from "../topics.ts";
import { patient } from "./patience.ts";
import { createTestDatabase } from "./test-database.ts";
import { until } from "./until.ts";

/** The platform of a test: its response to a part. */
type Platform = (part: OutboundPart) => SendOutcome | Promise<SendOutcome>;

export interface PipelineOptions {
  platform?: Platform;
  capabilities?: Partial<Capabilities>;
  policy?: Partial<JudgePolicy>;
  clock?: Clock;
  leaseMs?: number;
  concurrency?: number;
  isOnlyProcess?: boolean;
  timeoutMs?: number;
  findFile?: FindFileToSend;
  /** False: accept and route only; call `openDeliverer` when the test wants one. */
  delivers?: boolean;
  /** False: nothing is routed but what is routed when it is accepted. */
  routes?: boolean;
  /** The URL of another PostgreSQL than that of the run. */
  server?: string;
}

interface StoredDelivery {
  delivery_id: string;
  message_id: string;
  lane_id: string | null;
  ordinal: number;
  status: string;
  is_pending: boolean;
  is_dead_letter: boolean;
  attempts: number;
  next_attempt_at: Date | null;
  attempt_started_at: Date | null;
  error: { code: string; message: string } | null;
  provider_message_ids: string[] | null;
  history: { status: string; cause: string; at: string }[];
}

export const testChannel = "phone";
const quiet: Log = { info() {}, warn() {}, error() {} };
let calls = 0;

/** Responds as a platform that takes everything. */
export const takesAll: Platform = () => ({ kind: "sent", providerMessageId: `p-${++calls}` });

const testCapabilities: Capabilities = {
  payloads: ["text", "file", "reaction"],
  maxTextLength: 4096,
  media: [{ kind: "image", contentTypes: ["image/png"], maxBytes: 1_000_000, maxCaptionLength: 20 }],
  receipts: ["sent", "delivered", "read"],
  replies: true,
  ratePerSecond: 100_000,
  windowHours: null,
  afterUnknown: "resend",
  typing: "never",
  readMarks: false,
};

/** Accept, route and deliver over a real database and bus, to a platform that is a function of the test. */
export async function startPipeline(options: PipelineOptions = {}) {
  const { clock = systemClock, leaseMs = 4_000 } = options;
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase(options.server === undefined ? {} : { server: options.server }));
  const pool = stack.adopt(openPool({ url: database.url, size: 8, applicationName: "test", log: quiet }), (opened) =>
    opened.end(),
  );
  const admin = stack.adopt(openPool({ url: database.url, size: 1, applicationName: "admin", log: quiet }), (opened) =>
    opened.end(),
  );
  const databases = stack.use(openDatabases({ url: database.url, size: 8, log: quiet }));
  const db = databases.pipelineDb;
  const troubles = openTroubles({ clock, log: quiet });
  const fanout = stack.use(openLocalFanout(quiet));
  const openBus = (lease = leaseMs) =>
    openPostgresBus({
      url: database.url,
      fanout,
      clock,
      log: quiet,
      topics: [topics.messageProcessing, topics.inbound, topics.outgoing(testChannel)],
      partitions: 4,
      leaseMs: lease,
      troubles,
    });
  const bus = stack.use(await openBus());
  const eventNotifier = openEventNotifier({ fanout, clock });
  const sent: OutboundPart[] = [];
  const platform = { answer: options.platform ?? takesAll };
  const connector = testConnector({ ...testCapabilities, ...options.capabilities }, (part) => {
    sent.push(part);
    return platform.answer(part);
  });
  const deliverers = new Set<Deliverer>();
  const capabilitiesOf = () => connector.capabilities;
  const reserve = (_channel: string, ...place: Parameters<Deliverer["reserve"]>) =>
    [...deliverers].reduce<Reservation | null>((found, deliverer) => found ?? deliverer.reserve(...place), null);
  const acceptor = new Acceptor({
    dbOf: databases.acceptDbOf,
    bus,
    eventNotifier,
    clock,
    batchSize: 500,
    queueSize: 10_000,
    maxWaitMs: patient(1_000),
    router:
      process.env.FUSE !== "off"
        ? openRouter({ dbOf: databases.acceptDbOf, bus, log: quiet, capabilitiesOf, reserve })
        : null,
  });
  if (options.routes !== false) {
    const routing = bus.subscribe<AcceptedRecord>(topics.messageProcessing, "route", {
      maxBatch: 500,
      handle: (records) => routeMessages({ db, bus, eventNotifier, clock, capabilitiesOf }, records),
      giveUp: (record, error) => giveUpRouting({ db, eventNotifier, clock }, record, error),
    });
    stack.defer(() => routing.close());
  }
  const workspaceId = newId(Date.now());
  const account = {
    channelAccountId: newId<ChannelAccountId>(Date.now()),
    channel: testChannel,
    name: "test",
    credentials: {},
    settings: {},
    workspaceId,
    status: "active" as ChannelAccountStatus,
    statusFromMs: Number.NEGATIVE_INFINITY,
    version: 1,
  };
  await addWorkspace(pool, workspaceId, account.channelAccountId);

  stack.defer(async () => void (await Promise.all([...deliverers].map((deliverer) => deliverer.close()))));
  function deliver(over: Bus = bus): Deliverer {
    const deliverer = openDeliverer({
      db,
      bus: over,
      eventNotifier,
      log: quiet,
      troubles,
      connector,
      io: {
        http: () => Promise.reject(new Error("no network")),
        read: () => Promise.reject(new Error("no network")),
        clock,
        random: () => 0,
        timeoutMs: options.timeoutMs ?? 200,
      },
      accounts: {
        peek: (id) => (id === account.channelAccountId ? { ...account } : undefined),
        get: async (id) => (id === account.channelAccountId ? { ...account } : null),
        async needsAttention({ version }) {
          const isUnchanged = version === account.version && account.status === "active";
          if (isUnchanged) account.status = "needs_attention";
          return isUnchanged;
        },
      },
      findFile: options.findFile ?? (() => Promise.reject(new Error("no files"))),
      policy: { baseMs: 5, maxMs: 50, totalMs: 60_000, unknownGraceMs: 50, ...options.policy },
      concurrency: options.concurrency ?? 64,
      isOnlyProcess: options.isOnlyProcess ?? true,
    });
    deliverers.add(deliverer);
    return deliverer;
  }
  if (options.delivers !== false) deliver();

  const prepare = {
    clock,
    isChannel: (name: string) => name === testChannel,
    parseAddress: (identifier: string) => ({ channel: testChannel, identifier }),
    findDirects: () => Promise.reject(new Error("not here")),
    isAccount: () => Promise.resolve(true),
    findRefusedFiles: () => Promise.resolve(new Map()),
    findAccepted: () => Promise.resolve(new Map()),
  };
  const principal = {
    kind: "api_key",
    callerId: newId(Date.now()),
    workspaceId,
    role: "admin",
    userId: newId(Date.now()),
    participantId: workspaceId,
    sessionId: null,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  } as const;
  const opened = stack.move();

  return {
    pool,
    url: database.url,
    databases,
    /** Not the pipeline's: for looking at it from outside, and breaking it. */
    admin,
    bus,
    troubles,
    acceptor,
    connector,
    account,
    accountId: account.channelAccountId,
    workspaceId,
    principal,
    deliverers,
    /** Every part that reached the platform, in order. */
    sent,
    platform,
    openBus,
    deliver,
    deps: { db: pool, bus, eventNotifier, clock },
    /** A contact with an address on the test channel. */
    async addPerson(identifier: string): Promise<string> {
      const id = newId(Date.now());
      await run(
        pool,
        `WITH p AS (INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
           VALUES ($1, $2, 'contact', $3, now())),
         c AS (INSERT INTO contacts (contact_id, workspace_id, created_at) VALUES ($1, $2, now()))
         INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
         VALUES ($2, '${testChannel}', $3, $1, now())`,
        [id, workspaceId, identifier],
      );
      return id;
    },
    async addContactWithoutAddress(): Promise<string> {
      const id = newId(Date.now());
      await run(
        pool,
        `INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
         VALUES ($1, $2, 'contact', 'without address', now())`,
        [id, workspaceId],
      );
      return id;
    },
    /** A conversation of the workspace with these participants. */
    async addConversation(...members: string[]): Promise<ConversationId> {
      const id = newId<ConversationId>(Date.now());
      await run(
        pool,
        `WITH c AS (INSERT INTO conversations (conversation_id, workspace_id, type, created_at)
           VALUES ($1, $2, $3, now()))
         INSERT INTO members (conversation_id, participant_id, joined_at) SELECT $1, m, now() FROM unnest($4::uuid[]) m`,
        [id, workspaceId, members.length === 1 ? "private" : "group", [workspaceId, ...members]],
      );
      return id;
    },
    async say(conversationId: string, text: string, more: Partial<SendBody> = {}) {
      const body: SendBody = { conversation_id: conversationId, payload: { type: "text", text }, ...more };
      const [accepted] = await acceptor.accept([await prepareMessage(prepare, principal, body)]);
      if (accepted!.kind === "refused") throw accepted!.error;
      return accepted!;
    },
    deliveriesOf: (messageId: string) => readDeliveries(pool, messageId),
    async deliveryOf(messageId: string): Promise<StoredDelivery> {
      const [delivery] = await readDeliveries(pool, messageId);
      if (delivery === undefined) throw new Error("The message has no delivery yet.");
      return delivery;
    },
    texts: (identifier?: string) =>
      sent
        .filter((part) => identifier === undefined || part.identifier === identifier)
        .map((part) => (part.payload.type === "text" ? part.payload.text : part.payload.type)),
    laneOf: (identifier: string) => laneOf(account.channelAccountId, identifier),
    /** The platform's word on what it calls so. */
    receipt: (providerMessageId: string, status: Receipt["status"], more: Partial<Receipt> = {}) =>
      applyReceipts({ db, bus, clock }, [
        {
          channelAccountId: account.channelAccountId,
          providerMessageId,
          deliveryId: null,
          status,
          error: status === "failed" ? { code: "PLATFORM_REFUSED", message: "no" } : null,
          at: new Date(clock.now()),
          webhookId: null,
          ...more,
        },
      ]),
    receipts: (receipts: readonly Receipt[]) => applyReceipts({ db, bus, clock }, receipts),
    /** Notifies the deliverers of a delivery as the router does. */
    async announce(record: OutgoingRecord, laneId: string): Promise<void> {
      await bus.publish(pool, topics.outgoing(testChannel), [{ key: laneId, value: record }]);
      bus.wake(topics.outgoing(testChannel));
    },
    /** Resolves when a deliverer owns lanes, and so starts what is routed when it is accepted. */
    owned: () =>
      until("a deliverer owns its lanes", () =>
        [...deliverers].some((deliverer) => {
          const reservation = deliverer.reserve(laneOf(account.channelAccountId, "nobody"), account.channelAccountId);
          reservation?.release(true);
          return reservation !== null;
        }),
      ),
    /** Records that were published on a topic. */
    async published(topic: string): Promise<number> {
      const text = "SELECT coalesce(sum(next_offset - 1), 0)::int AS count FROM bus_heads WHERE topic = $1";
      return (await one<{ count: number }>(pool, text, [topic])).count;
    },
    routed: () =>
      until("every message is routed", async () => (await bus.lag(topics.messageProcessing, "route")) === 0),
    /** Resolves when everything accepted was routed and nothing is left to send. */
    settled: () =>
      until("every message is sent", async () => {
        if ((await bus.lag(topics.messageProcessing, "route")) > 0) return false;
        const row = await one<{ open: number }>(pool, "SELECT count(*) AS open FROM deliveries WHERE is_pending");
        return row.open === 0;
      }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

export type Pipeline = Awaited<ReturnType<typeof startPipeline>>;

/** A connector is a value: this one hands every part to the test. */
function testConnector(capabilities: Capabilities, answer: Platform): Connector {
  return {
    channel: testChannel,
    credentials: { type: "object" } as never,
    capabilities,
    identifierRule: "any text",
    parseIdentifier: (identifier) => identifier,
    externalId: () => "test",
    verify: () => true,
    parse: () => [],
    send: async (part) => answer(part),
    check: async () => ({ ok: true, detail: "" }),
  };
}

async function addWorkspace(pool: Pool, workspaceId: string, accountId: string): Promise<void> {
  await run(
    pool,
    `WITH w AS (INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'Acme', now())),
     p AS (INSERT INTO participants (participant_id, workspace_id, kind, display_name, created_at)
       VALUES ($1, $1, 'workspace', 'Acme', now()))
     INSERT INTO channel_accounts (channel_account_id, workspace_id, channel, name, status, external_id,
       credentials_sealed, created_at)
     VALUES ($2, $1, '${testChannel}', 'test', 'active', 'test', '', now())`,
    [workspaceId, accountId],
  );
}

function readDeliveries(pool: Pool, messageId: string): Promise<StoredDelivery[]> {
  return all(
    pool,
    `SELECT delivery_id, message_id, lane_id, ordinal, status, is_pending, is_dead_letter, attempts, next_attempt_at,
       attempt_started_at, error, provider_message_ids,
       delivery_history(deliveries) AS history
     FROM deliveries WHERE message_id = $1 ORDER BY ordinal`,
    [messageId],
  );
}
