import type { Logger } from "pino";
import type { Config } from "./config/config.ts";
import { type Context, openContext } from "./context.ts";
import { connectionsOf } from "./databases.ts";
import { connectSimulator } from "./demo.ts";
import { stepsOf } from "./flow.ts";
import { openClientAddress } from "./http/client-address.ts";
import { type Clock, type Random, systemClock } from "./lib/clock.ts";
import { readSettingWarnings, type SettingWarning } from "./lib/postgres-warnings.ts";
import type { WaitFor } from "./lib/start-progress.ts";
import { openStartRetry, unlessAborted } from "./lib/start-retry.ts";
import { handleOf, type TakenPort, takePort } from "./lib/taken-port.ts";
import { ensureFirstAdmin, type FirstAdmin } from "./log-in/log-in.ts";
import { startMaintenance } from "./maintenance.ts";
import { openRealtime, type Realtime, refuseSockets } from "./realtime/realtime.ts";
import type { Dependency } from "./rest/operations.ts";
import { openRest } from "./rest/rest.ts";
import { watchKeys } from "./sealed-columns.ts";
import { spawnSimulator } from "./simulator-process.ts";
import { watchProgress } from "./watch-progress.ts";
import { startWebhooks } from "./webhook-endpoints/webhook-endpoints.ts";

export interface HubOptions {
  config: Config;
  log: Logger;
  /** The hub cannot go on: end it. */
  onFailed: (error: Error) => void;
  /** Called with what the start waits for. */
  waitFor?: WaitFor;
  /** Ends a start that is not complete: it closes what it opened and rejects. A hub that is ready is closed instead. */
  signal?: AbortSignal;
  clock?: Clock;
  random?: Random;
}

export interface Hub extends AsyncDisposable {
  /** Where it listens, without a slash at the end; null for a process without the API. */
  url: string | null;
  simulatorUrl: string | null;
  /** Channels on which the first workspace sends to the simulator. */
  simulatedChannels: readonly string[];
  admin: FirstAdmin;
  context: Context;
  /** Takes no new work, finishes what is under way, and stops everything it started. Safe to call twice. */
  close(): Promise<void>;
}

/** Starts all that the configuration asks for, in one process but for the database and the simulator. */
export async function startHub(options: HubOptions): Promise<Hub> {
  const { config, log, signal = new AbortController().signal } = options;
  const waitFor: WaitFor = (what) => {
    signal.throwIfAborted();
    options.waitFor?.(what);
  };
  await using stack = new AsyncDisposableStack();
  let phase: "starting" | "ready" | "draining" = "starting";
  // Both ports are taken first, so that a start that cannot succeed leaves nothing behind.
  const { http, simulator: simulated } = config;
  const hasApi = config.roles.includes("api");
  const hasDoor = hasApi || config.roles.includes("realtime");
  const door = hasDoor ? stack.use(await takePort(http, { host: "HOST", port: "PORT" })) : null;
  const simulatorPort = simulated.isEnabled
    ? stack.use(await takeSimulatorPort(simulated.port, door && http.port))
    : null;
  const platforms = { dataDir: config.dataDir, log, callsTls: http.tls !== null, ...simulated };
  const simulator = simulatorPort && stack.use(spawnSimulator(platforms));
  const isEmbedded = config.database.url === null;
  const retry = openStartRetry({ isEmbedded, clock: options.clock ?? systemClock, log, waitFor, signal });
  const context = stack.use(await openContext({ ...options, start: { retry, waitFor, signal } }));
  for (const { setting, detail } of await retry(() => readWarnings(context))) log.warn({ setting }, detail);
  waitFor("the first admin to be made");
  const made = await retry(() => ensureFirstAdmin({ ...context, db: context.identityDb, config: config.identity }));
  const admin = { ...made, passwordWasShown: () => retry(made.passwordWasShown) };

  waitFor("the platform simulator to start");
  const ownSimulatorUrl = simulator && (await unlessAborted(simulator.start(simulatorPort!.server), signal));
  // The simulator has a copy of the socket.
  await simulatorPort?.[Symbol.asyncDispose]();
  if (ownSimulatorUrl !== null) context.allowSimulator(ownSimulatorUrl);
  const simulatorUrl = ownSimulatorUrl ?? config.simulator.url;
  // Steps end before what they send through, and the door closes before them: the stack runs backwards.
  stack.defer(() => closeWithin(config.shutdownTimeoutMs / 2, closeSteps));
  const steps: { close(): Promise<void> }[] = [];
  const closeSteps = async () => {
    await Promise.all([context.acceptor.idle(), context.webhookStore.idle()]);
    await Promise.all(steps.map((step) => step.close()));
  };
  for (const step of stepsOf(config.roles)) steps.push(step.start(context));
  if (config.roles.includes("tasks")) steps.push(startMaintenance(context), tellWebhookEndpoints(context));
  const progress = watchProgress(context);
  steps.push(progress, watchKeys(context));

  let url: string | null = null;
  let simulatedChannels: string[] = [];
  if (door !== null) {
    waitFor("the HTTP server to open");
    const realtime = config.roles.includes("realtime") ? startRealtime(context) : null;
    const { troubles } = context;
    const { waiting } = progress;
    const needingAttention = context.accounts.countNeedingAttention;
    const operations = {
      dependencies: dependenciesOf(context),
      troubles,
      waiting,
      needingAttention,
      phase: () => phase,
    };
    const app = await openRest(context, { operations, streams: realtime?.streams ?? null, hasApi });
    if (realtime === null) refuseSockets(app.server);
    else realtime.attach(app.server);
    const closeDoor = async () => {
      // The server ends when its last socket does.
      await realtime?.close();
      await app.close();
    };
    stack.defer(() => closeWithin(config.shutdownTimeoutMs / 3, closeDoor));
    url = await listen(app, door, http);
    if (hasApi && simulatorUrl !== null) {
      waitFor("the simulated channels to be connected");
      const hubUrl = url;
      simulatedChannels = await retry(() => connectSimulator(context, simulatorUrl, hubUrl));
    }
  }
  phase = "ready";

  const opened = stack.move();
  let closing: Promise<void> | undefined;
  const close = () => {
    phase = "draining";
    closing ??= opened.disposeAsync();
    return closing;
  };
  return { url, simulatorUrl, simulatedChannels, admin, context, close, [Symbol.asyncDispose]: close };
}

function tellWebhookEndpoints(context: Context): { close(): Promise<void> } {
  const { config, pipelineDb: db, webhookHttp: http } = context;
  const { allowPrivate } = config.webhooks;
  if (allowPrivate)
    context.log.info("webhook endpoints and platforms may be on private addresses: WEBHOOKS_ALLOW_PRIVATE is true");
  return startWebhooks({ ...context, db, http, allowPrivate, leaseMs: config.bus.leaseMs });
}

function readWarnings({ config, identityDb }: Context): Promise<SettingWarning[]> {
  return readSettingWarnings(identityDb, connectionsOf({ size: config.database.poolSize }));
}

function startRealtime(context: Context): Realtime {
  const { config, authenticator } = context;
  const { maxReaders, limits } = config.events;
  const clientAddress = openClientAddress(config.http.trustedProxies);
  const bounds = { maxReaders, limits, rateLimits: context.limits };
  return openRealtime({ ...context, ...authenticator, origins: config.http, ...bounds, clientAddress });
}

function dependenciesOf(context: Context): Dependency[] {
  const { redis } = context;
  const check = async () => [...(await readWarnings(context)), ...(await warnOfAccounts(context))];
  const database = { name: "database", check };
  if (redis === null) return [database];
  return [database, { name: "redis", isOptional: true, check: () => redis.client.ping().then(() => []) }];
}

/** A channel account that its platform refuses is a warning for operators: the process stays ready. */
async function warnOfAccounts({ accounts }: Context): Promise<SettingWarning[]> {
  const count = await accounts.countNeedingAttention();
  if (count === 0) return [];
  const detail = `${count} need attention: the platforms refuse them, and messages to be sent over them wait.`;
  return [{ setting: "channel_accounts", detail }];
}

type Listening = { listen(options: { port: number; host: string }): Promise<string> };

/** Listens on the port that was taken at the start. */
async function listen(
  app: Listening,
  { server, port }: TakenPort,
  { host, tls }: Pick<Config["http"], "host" | "tls">,
): Promise<string> {
  // Fastify passes the options on to node:net, but its types leave the handle out.
  await app.listen({ port, host, ...{ _handle: handleOf(server) } });
  const isEverywhere = host === "0.0.0.0" || host === "::";
  return `${tls === null ? "http" : "https"}://${isEverywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host}:${port}`;
}

function takeSimulatorPort(port: number, doorPort: number | null): Promise<TakenPort> {
  return takePort({ host: "127.0.0.1", port }, { port: "SIMULATOR_PORT", taken: { key: "PORT", port: doorPort } });
}

/** What has not ended by then is left to recovery at the next start: nothing accepted is lost by it. */
async function closeWithin(timeoutMs: number, close: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([close(), timeout]);
  clearTimeout(timer);
}
