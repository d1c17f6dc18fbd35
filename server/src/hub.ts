import type { Logger } from "pino";
import type { Config } from "./config/config.ts";
import { type Context, openContext } from "./context.ts";
import { connectSimulator } from "./demo.ts";
import { flow, isRunBy, type Running } from "./flow.ts";
import { urlOf } from "./http-server.ts";
import { type Clock, type Random, systemClock } from "./lib/clock.ts";
import type { WaitFor } from "./lib/start-progress.ts";
import { openStartRetry, unlessAborted } from "./lib/start-retry.ts";
import { type TakenPort, takePort } from "./lib/taken-port.ts";
import { ensureFirstAdmin, type FirstAdmin } from "./log-in/log-in.ts";
import { type Phase, readDatabaseWarnings } from "./readiness.ts";
import { spawnSimulator } from "./simulator-process.ts";

interface HubOptions {
  config: Config;
  log: Logger;
  /** The hub cannot continue: end the process. */
  onFailed: (error: Error) => void;
  /** Called with the name of what the start waits for. */
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
  let phase: Phase = "starting";
  // Both ports are taken first, so that a start that cannot succeed leaves nothing behind.
  const { http, roles, simulator: simulated } = config;
  const hasApi = roles.includes("api");
  const hasServer = hasApi || roles.includes("realtime");
  const port = hasServer ? stack.use(await takePort(http, { host: "HOST", port: "PORT" })) : null;
  const simulatorPort = simulated.isEnabled
    ? stack.use(await takeSimulatorPort(simulated.port, port && http.port))
    : null;
  const platforms = { dataDir: config.dataDir, log, callsTls: http.tls !== null, ...simulated };
  const simulator = simulatorPort && stack.use(spawnSimulator(platforms));

  const isEmbedded = config.database.url === null;
  const retry = openStartRetry({ isEmbedded, clock: options.clock ?? systemClock, log, waitFor, signal });
  const context = stack.use(
    await openContext({ ...options, config: withPort(config, port), start: { retry, waitFor, signal } }),
  );
  for (const { setting, detail } of await retry(() => readDatabaseWarnings(context))) log.warn({ setting }, detail);
  waitFor("the first admin to be made");
  const { identityDb: db, clock, hasher, isOnlyProcess } = context;
  const first = await retry(() => ensureFirstAdmin({ db, clock, hasher, isOnlyProcess, config: config.identity }));
  const admin = { ...first, passwordWasShown: () => retry(first.passwordWasShown) };

  waitFor("the platform simulator to start");
  const ownSimulatorUrl = simulator && (await unlessAborted(simulator.start(simulatorPort!.server), signal));
  // The simulator has a copy of the socket.
  await simulatorPort?.[Symbol.asyncDispose]();
  if (ownSimulatorUrl !== null) context.allowSimulator(ownSimulatorUrl);
  const simulatorUrl = ownSimulatorUrl ?? simulated.url;

  for (const stage of flow) {
    const running: Running[] = [];
    const closeStage = () => Promise.all(running.map((part) => part.close()));
    stack.defer(() => closeWithin(config.shutdownTimeoutMs * stageShare, closeStage));
    for (const part of stage.filter((one) => isRunBy(roles, one))) {
      waitFor(`the ${part.name} to start`);
      running.push(await part.start(context, { port: port!, phase: () => phase }));
    }
  }

  const url = port && urlOf(http, port.port);
  let simulatedChannels: string[] = [];
  if (hasApi && simulatorUrl !== null) {
    waitFor("the simulated channels to be connected");
    simulatedChannels = await retry(() => connectSimulator(context, simulatorUrl, url!));
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

/** With `PORT=0` the hub's own URL is known when the port is. */
function withPort(config: Config, taken: TakenPort | null): Config {
  const { http } = config;
  if (taken === null || http.port !== 0) return config;
  return { ...config, http: { ...http, publicUrl: http.publicUrl.replace(/:0$/, `:${taken.port}`) } };
}

function takeSimulatorPort(port: number, httpPort: number | null): Promise<TakenPort> {
  return takePort({ host: "127.0.0.1", port }, { port: "SIMULATOR_PORT", taken: { key: "PORT", port: httpPort } });
}

/** The part of SHUTDOWN_TIMEOUT within which a stage of the flow must close; the rest is for pools and the database. */
const stageShare = 0.4;

/** What has not ended by then is left to recovery at the next start: nothing accepted is lost by it. */
async function closeWithin(timeoutMs: number, close: () => Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([close(), timeout]);
  clearTimeout(timer);
}
