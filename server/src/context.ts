import { join } from "node:path";
import type { Logger } from "pino";
import { startEmbeddedPostgres } from "../../embedded-postgres/src/embedded-postgres.ts";
import type { Bus } from "./bus/bus.ts";
import { openPostgresBus } from "./bus/postgres-bus.ts";
import { type ChannelAccountHealth, ChannelAccounts } from "./channel-accounts/channel-accounts.ts";
import type { Config } from "./config/config.ts";
import type { Capabilities, Connector, ConnectorIo } from "./connectors/connector.ts";
import { connectorFor, connectors } from "./connectors/registry.ts";
import { type Authenticator, openAuthenticator, openTokens, type Tokens } from "./credentials/credentials.ts";
import type { IdentityDb, PipelineDb } from "./database-roles.ts";
import { type Databases, openDatabases, pipelineUrl } from "./databases.ts";
import { type Deliverer, openRouter, readHealth } from "./deliveries/deliveries.ts";
import { type EventNotifier, openEventNotifier, openTypingNotifier, type TypingNotifier } from "./events/events.ts";
import { type FileDeps, openAllowedTypes, openFileLinks } from "./files/files.ts";
import { openWebhookStore, type WebhookStore } from "./inbound/inbound.ts";
import { Clamd } from "./lib/clamd.ts";
import { type Clock, type Random, systemClock } from "./lib/clock.ts";
import { openDatabaseClock } from "./lib/database-clock.ts";
import type { Fanout } from "./lib/fanout/fanout.ts";
import { openFanout } from "./lib/fanout/open-fanout.ts";
import { type HttpClient, openHttpClient } from "./lib/http.ts";
import type { ChannelAccountId } from "./lib/ids.ts";
import { type Mailer, openMailer } from "./lib/mailer.ts";
import { type ObjectStoreOptions, openObjectStore } from "./lib/object-store/open-object-store.ts";
import type { Db } from "./lib/query.ts";
import { openMemoryRateLimits } from "./lib/rate-limits/memory-rate-limits.ts";
import type { RateLimits } from "./lib/rate-limits/rate-limits.ts";
import { openRedisRateLimits } from "./lib/rate-limits/redis-rate-limits.ts";
import type { Redis } from "./lib/redis.ts";
import { dnsResolve } from "./lib/resolve.ts";
import { Secret } from "./lib/secret.ts";
import { openSecretBox, type SecretBox } from "./lib/secret-box.ts";
import { readOrCreateSecrets } from "./lib/secrets-file.ts";
import type { Start } from "./lib/start-retry.ts";
import { openTroubles, type Troubles } from "./lib/troubles.ts";
import {
  hashingThreads,
  type LogInProvider,
  openPasswordHasher,
  openProviders,
  type PasswordHasher,
} from "./log-in/log-in.ts";
import { Acceptor } from "./messages/messages.ts";
import { prepareSchema } from "./prepare-schema.ts";
import { identityChannel } from "./realtime/realtime.ts";
import { filePagePath } from "./rest/file-pages.ts";
import { objectsPath } from "./rest/objects.ts";
import { requireKeys } from "./sealed-columns.ts";
import { chooseSecrets } from "./secrets.ts";
import { Signals } from "./signals/signals.ts";
import { type LanguageModel, openLanguageModel } from "./summaries/summaries.ts";
import { openFileTasks, openTaskNotifier, type TaskNotifier } from "./tasks/tasks.ts";
import { topics } from "./topics.ts";
import { answerCut, maxRequests } from "./webhook-endpoints/webhook-endpoints.ts";

/** What the parts of a hub share. Each takes only what it needs; the opener closes it. */
export interface Context extends AsyncDisposable {
  readonly config: Config;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** For requests of a workspace: sees its rows only. */
  readonly dbOf: Databases["dbOf"];
  readonly identityDb: IdentityDb;
  /** For steps and maintenance jobs: sees every row. */
  readonly pipelineDb: PipelineDb;
  readonly databaseUrl: string;
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly redis: Redis | null;
  /** In Redis if there is one, else in this process. */
  readonly limits: RateLimits;
  readonly eventNotifier: EventNotifier;
  readonly taskNotifier: TaskNotifier;
  readonly secretBox: SecretBox;
  readonly hasher: PasswordHasher;
  readonly tokens: Tokens;
  readonly authenticator: Authenticator;
  readonly typingNotifier: TypingNotifier;
  readonly providers: ReadonlyMap<string, LogInProvider>;
  readonly mailer: Mailer;
  readonly files: FileDeps;
  /** Null: summaries are made on this machine. */
  readonly languageModel: LanguageModel | null;
  /** Null when files are not scanned for malware. */
  readonly clamd: Clamd | null;
  readonly accounts: ChannelAccounts;
  readonly acceptor: Acceptor;
  readonly inboundWebhooks: WebhookStore;
  readonly connectorIo: ConnectorIo;
  /** Calls webhook endpoints, whose URLs come from users. */
  readonly endpointHttp: HttpClient;
  readonly signals: Signals;
  readonly connectorFor: (channel: string) => Connector | undefined;
  readonly capabilitiesOf: (channel: string) => Capabilities | null;
  readonly deliverers: Map<string, Deliverer>;
  /** Lets the hub call the simulator on its private IP address. */
  readonly allowSimulator: (simulatorUrl: string) => void;
  readonly healthOf: (db: Db, channelAccountId: ChannelAccountId) => Promise<ChannelAccountHealth>;
  readonly troubles: Troubles;
  /** How many records wait for each step, in all processes, as last counted. */
  readonly backlog: Map<string, number>;
  /** Whether no other process can use this database: it is the embedded one, and locked. */
  readonly isOnlyProcess: boolean;
}

interface ContextOptions {
  config: Config;
  log: Logger;
  /** The embedded database cannot be restarted: end the process. */
  onFailed: (error: Error) => void;
  start: Start;
  /** This machine's clock. Its wall time may be wrong. */
  clock?: Clock;
  random?: Random;
}

/** Opens everything in order; when a part fails, what was opened is closed. */
export async function openContext(options: ContextOptions): Promise<Context> {
  const { config, log, random = Math.random, start } = options;
  await using stack = new AsyncDisposableStack();
  const troubles = openTroubles({ clock: options.clock ?? systemClock, log });
  const storage = await openStorage(stack, { ...options, troubles });
  const { dbOf, identityDb, pipelineDb, acceptDbOf, databaseUrl, isOnlyProcess, clock, secrets } = storage;
  const { redis, limits, fanout } = await openProcessLinks(stack, { config, log, start, databaseUrl, clock });
  start.waitFor("the bus to open");
  const bus = stack.use(
    await start.retry(() =>
      openPostgresBus({
        url: pipelineUrl(databaseUrl),
        fanout,
        clock,
        log,
        topics: [
          topics.messageProcessing,
          topics.inbound,
          ...connectors.map(({ channel }) => topics.outgoing(channel)),
        ],
        partitions: config.bus.partitions,
        leaseMs: config.bus.leaseMs,
        troubles,
      }),
    ),
  );
  const eventNotifier = openEventNotifier({ fanout, clock });
  const { allowPrivate } = config.webhooks;
  const simulatorOrigins = config.simulator.url === null ? [] : [new URL(config.simulator.url).origin];
  const { platformHttp, endpointHttp, providerHttp, llmHttp } = openHttpClients(stack, config, simulatorOrigins);
  const secretBox = openSecretBox(secrets.encryptionKeys);
  await start.retry(() => requireKeys(pipelineDb, secretBox));
  const tokens = openTokens({ clock, keys: secrets.signingKeys, ...config.identity });
  const rules = { allowPrivate, allowedOrigins: simulatorOrigins };
  const accounts = new ChannelAccounts({ db: pipelineDb, secretBox, clock, ...rules });
  const providers = await openProviders(config.identity.providers, { http: providerHttp, clock });
  const mailer = stack.use(openMailer({ ...config.mail, clock, log }));
  const deliverers = new Map<string, Deliverer>();
  const { timeoutMs, retryTotalMs } = config.delivery;
  const { http, read } = platformHttp;
  const connectorIo = { http, read, clock, random, timeoutMs };
  const isFused = config.isFused && config.roles.includes("router");
  const capabilitiesOf = (channel: string) => connectorFor(channel)?.capabilities ?? null;
  const urlSecrets = secrets.encryptionKeys.map(({ key }) => new Secret(key.toString("base64")));
  const store = stack.use(await openStore(config, { secrets: urlSecrets, clock, log }));
  const links = openFileLinks({
    pageUrl: `${config.http.publicUrl}${filePagePath}`,
    secrets: urlSecrets,
    ttlMs: config.files.linkTtlMs,
    clock,
  });
  const allowedTypes = openAllowedTypes(config.files.allowedTypes);
  const taskNotifier = openTaskNotifier({ fanout, clock });
  const tasks = openFileTasks({ clock, taskNotifier });
  const clamd = config.files.clamav === null ? null : new Clamd(config.files.clamav);
  const files = { store, links, clock, ...config.files, allowedTypes, tasks, isScanned: clamd !== null };
  const opened = stack.move();
  return {
    config,
    log,
    clock,
    random,
    troubles,
    backlog: new Map(),
    dbOf,
    identityDb,
    pipelineDb,
    databaseUrl,
    bus,
    fanout,
    redis,
    limits,
    eventNotifier,
    taskNotifier,
    secretBox,
    hasher: openPasswordHasher({ concurrency: hashingThreads() }),
    tokens,
    authenticator: forgetEverywhere(openAuthenticator({ db: identityDb, clock, tokens }), fanout),
    typingNotifier: openTypingNotifier({ fanout, clock }),
    providers,
    mailer,
    files,
    languageModel:
      config.llm &&
      openLanguageModel({ config: config.llm, http: llmHttp, db: pipelineDb, limits, clock, random, log }),
    clamd,
    accounts,
    acceptor: new Acceptor({
      dbOf: acceptDbOf,
      bus,
      eventNotifier,
      clock,
      batchSize: config.accept.batchSize,
      queueSize: config.accept.queueSize,
      maxWaitMs: config.accept.maxWaitMs,
      router: isFused
        ? openRouter({
            dbOf: acceptDbOf,
            bus,
            log,
            capabilitiesOf,
            reserve: (channel, ...place) => deliverers.get(channel)?.reserve(...place) ?? null,
          })
        : null,
    }),
    inboundWebhooks: openWebhookStore({
      db: pipelineDb,
      bus,
      eventNotifier,
      clock,
      log,
      connectorFor,
      findAccount: accounts.get,
      isFused,
    }),
    endpointHttp,
    connectorIo,
    signals: new Signals({ accounts, connectors, io: connectorIo, log, eventNotifier, retryTotalMs }),
    connectorFor,
    capabilitiesOf,
    deliverers,
    allowSimulator: (simulatorUrl) => simulatorOrigins.push(new URL(simulatorUrl).origin),
    healthOf: (db, channelAccountId) => readHealth({ db, accounts, deliverers, connectorFor }, channelAccountId),
    isOnlyProcess,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

interface StorageOptions extends ContextOptions {
  troubles: Troubles;
}

/** The database, embedded or by its URL, with the newest schema; its pools, its clock, and the hub's keys. */
async function openStorage(stack: AsyncDisposableStack, options: StorageOptions) {
  const { config, log, troubles, onFailed, start, clock: machineClock = systemClock } = options;
  const { retry, waitFor, signal } = start;
  const { dataDir } = config;
  const reports = {
    onFailed,
    onRestartFailed: (error: unknown) => troubles.failed(embeddedPart, error),
    onRestarted: () => troubles.worked(embeddedPart),
  };
  const database =
    config.database.url === null
      ? stack.use(await startEmbeddedPostgres({ dataDir, log, ...reports, waitFor, signal }))
      : null;
  const databaseUrl = database?.url ?? config.database.url!.reveal();
  const secrets = chooseSecrets(config.secrets, database === null ? null : readOrCreateSecrets(dataDir));
  waitFor(database === null ? "the database of DATABASE_URL to respond" : "the database to respond");
  await prepareSchema(databaseUrl, {
    isEmbedded: database !== null,
    log,
    messageRetentionMs: config.messageRetentionMs,
    ...start,
  });
  waitFor("the pipeline to open");
  const pools = stack.use(openDatabases({ url: databaseUrl, size: config.database.poolSize, log }));
  const { pipelineDb } = pools;
  const clock = stack.use(await retry(() => openDatabaseClock({ db: pipelineDb, clock: machineClock, log })));
  return { ...pools, databaseUrl, isOnlyProcess: database !== null, clock, secrets };
}

/** The name under which `/readyz` reports that it cannot be restarted. */
const embeddedPart = "embedded PostgreSQL";

interface LinkOptions extends Pick<ContextOptions, "config" | "log" | "start"> {
  databaseUrl: string;
  clock: Clock;
}

/** What processes share besides the database: Redis if there is one, rate limits, and the fan-out. */
async function openProcessLinks(stack: AsyncDisposableStack, { config, log, start, databaseUrl, clock }: LinkOptions) {
  const { signal } = start;
  const redisUrl = config.redisUrl?.reveal() ?? null;
  if (redisUrl !== null) start.waitFor("Redis to respond");
  const openRedis = async (url: string) =>
    (await import("./lib/redis.ts")).openRedis({ url, name: "chat4all", clock, log, signal });
  const redis = redisUrl === null ? null : stack.use(await openRedis(redisUrl));
  const limits =
    redis === null ? openMemoryRateLimits(clock) : openRedisRateLimits({ client: redis.client, clock, log });
  const sharedDatabaseUrl = config.database.url === null ? null : pipelineUrl(databaseUrl);
  const fanout = stack.use(await openFanout({ redisUrl, databaseUrl: sharedDatabaseUrl, clock, log, start }));
  return { redis, limits, fanout };
}

/** Where the bytes of files are: in a bucket, or in the data directory behind URLs that the hub signs. */
function openStore(
  config: Config,
  place: Pick<Extract<ObjectStoreOptions, { kind: "disk" }>, "secrets" | "clock" | "log">,
) {
  const { dataDir, http, files } = config;
  return openObjectStore(
    files.s3 === null
      ? { kind: "disk", folder: join(dataDir, "files"), baseUrl: `${http.publicUrl}${objectsPath}`, ...place }
      : { kind: "s3", ...files.s3, temporaryFolder: join(dataDir, "files"), clock: place.clock },
  );
}

/** Clients for platforms, for webhook endpoints (whose URLs come from users) and for login providers. */
function openHttpClients(stack: AsyncDisposableStack, config: Config, simulatorOrigins: string[]) {
  const { allowPrivate } = config.webhooks;
  const open = (options: Parameters<typeof openHttpClient>[0]) =>
    stack.adopt(openHttpClient(options), (client) => client.close());
  return {
    platformHttp: open({
      connectionsPerHost: config.delivery.concurrency,
      allowPrivate,
      allowedOrigins: simulatorOrigins,
      // The rule may have been less strict when the account was connected.
      isHttpsOnly: !allowPrivate,
    }),
    endpointHttp: open({ connectionsPerHost: maxRequests, allowPrivate, resolve: dnsResolve(), cut: answerCut }).http,
    // The operator configures the providers: they may be on private IP addresses.
    providerHttp: open({ connectionsPerHost: providerConnections, allowPrivate: true }).http,
    // So is the endpoint of the language model.
    llmHttp: open({ connectionsPerHost: llmConnections, allowPrivate: true }).http,
  };
}

/** A session, user or key that changed in one process must leave the caches of all others. */
function forgetEverywhere({ forget, ...others }: Authenticator, fanout: Fanout): Authenticator {
  fanout.subscribe(identityChannel, forget);
  return {
    ...others,
    forget(id) {
      forget(id);
      fanout.publish(identityChannel, id);
    },
  };
}

/** Connections to one provider. */
const providerConnections = 20;
const llmConnections = 64;
