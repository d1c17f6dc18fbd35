import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { type Context, openContext } from "./context.ts";
import { connectionsOf } from "./databases.ts";
import { connectSimulator } from "./demo.ts";
import { stepsOf } from "./flow.ts";
import { ensureFirstAdmin } from "./identity/first-admin.ts";
import type { Clock, Random } from "./lib/clock.ts";
import { readSettingWarnings, type SettingWarning } from "./lib/postgres-warnings.ts";
import { StartError } from "./lib/start-error.ts";
import { startMaintenance } from "./maintenance.ts";
import { openRealtime, type Realtime } from "./realtime/realtime.ts";
import type { Dependency } from "./rest/operations.ts";
import { openRest } from "./rest/rest.ts";
import { startSimulatorProcess } from "./simulator-process.ts";
import { startWebhooks } from "./webhook-endpoints/webhook-endpoints.ts";

export interface HubOptions {
  config: Config;
  log: Logger;
  /** The hub cannot go on: end it. */
  onFailed: (error: Error) => void;
  clock?: Clock;
  random?: Random;
}

export interface Hub extends AsyncDisposable {
  /** Where it listens, without a slash at the end; null for a process without the API. */
  url: string | null;
  simulatorUrl: string | null;
  admin: { username: string /** Only when this start generated it. */; password?: string };
  context: Context;
  /** Takes no new work, finishes what is under way, and stops everything it started. Safe to call twice. */
  close(): Promise<void>;
}

/** Starts all that the configuration asks for, in one process but for the database and the simulator. */
export async function startHub(options: HubOptions): Promise<Hub> {
  const { config, log } = options;
  await using stack = new AsyncDisposableStack();
  let phase: "starting" | "ready" | "draining" = "starting";
  const context = stack.use(await openContext(options));
  for (const { setting, detail } of await readWarnings(context)) log.warn({ setting }, detail);
  const admin = await ensureFirstAdmin({ ...context, db: context.identityDb, config: config.identity });

  const simulator = config.simulator.isEnabled
    ? stack.use(
        await startSimulatorProcess({
          port: config.simulator.port,
          dataDir: config.dataDir,
          log,
          callsTls: config.http.tls !== null,
        }),
      )
    : null;
  if (simulator !== null) context.allowSimulator(simulator.url);
  const simulatorUrl = simulator?.url ?? config.simulator.url;
  // Steps end before what they send through, and the door closes before them: the stack runs backwards.
  stack.defer(() => closeWithin(config.shutdownTimeoutMs / 2, closeSteps));
  const steps: { close(): Promise<void> }[] = [];
  const closeSteps = async () => {
    await Promise.all([context.acceptor.idle(), context.webhookStore.idle()]);
    await Promise.all(steps.map((step) => step.close()));
  };
  for (const step of stepsOf(config.roles)) steps.push(step.start(context));
  if (config.roles.includes("tasks")) steps.push(startMaintenance(context), tellWebhookEndpoints(context));

  let url: string | null = null;
  const hasApi = config.roles.includes("api");
  if (hasApi || config.roles.includes("realtime")) {
    const realtime = config.roles.includes("realtime") ? startRealtime(context) : null;
    const operations = { dependencies: dependenciesOf(context), phase: () => phase };
    const app = await openRest(context, { operations, streams: realtime?.streams ?? null, hasApi });
    realtime?.attach(app.server);
    const closeDoor = async () => {
      // The server ends when its last socket does.
      await realtime?.close();
      await app.close();
    };
    stack.defer(() => closeWithin(config.shutdownTimeoutMs / 3, closeDoor));
    url = await listen(app, config.http);
    if (hasApi && simulatorUrl !== null) await connectSimulator(context, simulatorUrl, url);
  }
  phase = "ready";

  const opened = stack.move();
  let closing: Promise<void> | undefined;
  const close = () => {
    phase = "draining";
    closing ??= opened.disposeAsync();
    return closing;
  };
  return { url, simulatorUrl, admin, context, close, [Symbol.asyncDispose]: close };
}

function tellWebhookEndpoints(context: Context): { close(): Promise<void> } {
  const { config, news, pipelineDb: db, webhookHttp: http } = context;
  const { allowPrivate } = config.webhooks;
  if (allowPrivate) context.log.info("webhook endpoints may be on private addresses: WEBHOOKS_ALLOW_PRIVATE is true");
  const { tell: tellNews, onNews } = news;
  return startWebhooks({ ...context, db, http, allowPrivate, tellNews, onNews, leaseMs: config.bus.leaseMs });
}

function readWarnings({ config, identityDb }: Context): Promise<SettingWarning[]> {
  return readSettingWarnings(identityDb, connectionsOf({ size: config.database.poolSize }));
}

function startRealtime(context: Context): Realtime {
  const { config, authenticator } = context;
  const { maxReaders } = config.events;
  return openRealtime({ ...context, ...authenticator, origins: config.http, maxReaders });
}

function dependenciesOf(context: Context): Dependency[] {
  const { redis } = context;
  const database = { name: "database", check: () => readWarnings(context) };
  if (redis === null) return [database];
  return [database, { name: "redis", isOptional: true, check: () => redis.client.ping().then(() => []) }];
}

type Listening = { listen(options: { port: number; host: string }): Promise<string>; server: { address(): unknown } };

async function listen(
  app: Listening,
  { port, host, tls }: Pick<Config["http"], "port" | "host" | "tls">,
): Promise<string> {
  try {
    await app.listen({ port, host });
  } catch (error) {
    throw new StartError(explainListenError(error as NodeJS.ErrnoException, host, port), { cause: error });
  }
  const bound = (app.server.address() as AddressInfo).port;
  const isEverywhere = host === "0.0.0.0" || host === "::";
  return `${tls === null ? "http" : "https"}://${isEverywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host}:${bound}`;
}

function explainListenError({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  if (code === "EADDRINUSE")
    return `Port ${port} on ${host} is taken by another program: end it, or set PORT to another.`;
  if (code === "EACCES") return `Port ${port} may not be opened by this user: set PORT to one above 1023.`;
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return `HOST ${host} is no address of this machine: set HOST to one.`;
  return `The hub cannot listen on ${host}:${port}: ${message}.`;
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
