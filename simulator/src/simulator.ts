import { randomBytes } from "node:crypto";
import type { AddressInfo, Server } from "node:net";
import path from "node:path";
import Fastify, { type FastifyInstance } from "fastify";
import { Accounts } from "./accounts.ts";
import { answerErrors, serveControl } from "./control/control.ts";
import { defaultAccounts } from "./default-accounts.ts";
import type { OpenFace } from "./face.ts";
import { faces } from "./faces.ts";
import { Faults } from "./faults.ts";
import { HttpClient } from "./http/client.ts";
import { Journal } from "./journal/journal.ts";
import { restore, snapshot } from "./journal/restore.ts";
import { Links } from "./media/links.ts";
import { MediaStore, storeLimits } from "./media/media-store.ts";
import { Messages } from "./messages.ts";
import { createRandom } from "./random.ts";
import { Schedule } from "./schedule.ts";
import { Settings } from "./settings.ts";
import { Signals } from "./signals.ts";
import { putAccount, type Simulation } from "./simulation.ts";
import { Webhooks } from "./webhooks/webhooks.ts";
import type { World } from "./world.ts";

const maxControlBytes = 1 << 20;

export interface SimulatorOptions {
  port?: number;
  host?: string;
  /** A server that already listens, taken over in place of `port`. */
  listenOn?: Server;
  /** In the fields of `POST /_sim/accounts`. Default `defaultAccounts`. */
  accounts?: readonly unknown[];
  /**
   * A file that survives the process, with a folder of media beside it; made when they are not there. Default: nothing
   * survives.
   */
  journal?: string;
  /** The same seed repeats chance and ids. Default: new ones each time. */
  seed?: string;
  /** The initial `enforce_window` of every platform, also after a reset. Default true. */
  enforceWindow?: boolean | undefined;
  /** Unix milliseconds. Default: the system's clock as of the start, and monotonic from then on. */
  now?: () => number;
}

export interface Simulator extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Ends calls under way, stops all webhooks and frees the port. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Starts the platforms and their control surface. Rejects when the port is taken (`EADDRINUSE`), an account is
 * malformed or the journal is not one (`Problem`); then nothing is left open.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const world = openWorld(options);
  try {
    const { simulation, resume } = openSimulation(world, options);
    const app = createServer(simulation);
    const host = options.host ?? "127.0.0.1";
    const { port: wanted = 0, listenOn } = options;
    // Fastify passes the options on to node:net, but its types leave the handle out.
    const handle = listenOn && { _handle: (listenOn as unknown as { _handle: object })._handle };
    await app.listen({ port: wanted, host, ...handle });
    resume();
    const { port } = app.server.address() as AddressInfo;
    let closing: Promise<void> | undefined;
    const close = () => {
      closing ??= app.close().finally(() => closeWorld(world));
      return closing;
    };
    return {
      url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
      port,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    closeWorld(world);
    throw error;
  }
}

/** Monotonic: a wall clock that is set back must not make the platforms refuse or wait. */
function steadyNow(): () => number {
  const origin = Date.now() - performance.now();
  return () => Math.round(origin + performance.now());
}

function openWorld(options: SimulatorOptions): World {
  const now = options.now ?? steadyNow();
  const random = createRandom(options.seed ?? randomBytes(16).toString("hex"));
  const schedule = new Schedule(now);
  const http = new HttpClient();
  const accounts = new Accounts();
  const settings = new Settings();
  const faults = new Faults(now, random.fork("faults"));
  const messages = new Messages();
  const signals = new Signals();
  const journal = new Journal(options.journal);
  const webhooks = new Webhooks({
    now,
    random: random.fork("webhooks"),
    schedule,
    http,
    accounts,
    settings,
    faults,
    onAccepted: (numbers) => journal.accepted(numbers),
  });
  const media = new MediaStore({
    folder: options.journal === undefined ? undefined : mediaFolderOf(options.journal),
    now,
    onKept: (kept) => journal.media(kept),
    limits: storeLimits,
  });
  const links = new Links(media);
  const seeded = options.seed !== undefined;
  const kept = { accounts, settings, faults, messages, signals, journal, media };
  return { now, random, seeded, schedule, http, links, webhooks, ...kept };
}

/** Beside the journal, with its name: `simulator-media` for `simulator.jsonl`. */
function mediaFolderOf(journal: string): string {
  const { dir, name } = path.parse(path.resolve(journal));
  return path.join(dir, `${name}-media`);
}

/** Platforms first, then what the journal remembers, then the accounts asked for: what these name is what holds. */
function openSimulation(
  world: World,
  { accounts = defaultAccounts, enforceWindow = true }: SimulatorOptions,
): { simulation: Simulation; resume: () => void } {
  const open = new Map<string, OpenFace>();
  for (const face of faces) {
    world.settings.open(face.channel, { ...face.settings, enforce_window: enforceWindow });
    const running = face.open(world);
    world.webhooks.open(face.channel, running.webhooks);
    open.set(face.channel, running);
  }
  const simulation: Simulation = { world, faces, open };
  const { resume, waiting } = restore(world, open, (fields) => putAccount(simulation, fields));
  // Every id takes a message's index or a webhook's number, so no earlier run began where these stand.
  world.random.restart(`${world.messages.nextIndex} ${world.webhooks.nextNumber}`);
  for (const input of accounts) putAccount(simulation, input);
  world.media.deleteUnknownFiles();
  world.journal.start(() => snapshot(world, open, waiting()));
  return { simulation, resume };
}

function createServer(simulation: Simulation): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true, bodyLimit: maxControlBytes, exposeHeadRoutes: false });
  answerErrors(app);
  for (const [channel, running] of simulation.open) {
    app.register(async (scope) => running.serve(scope), { prefix: `/${channel}` });
  }
  app.register(async (scope) => serveControl(scope, simulation), { prefix: "/_sim" });
  return app;
}

function closeWorld(world: World): void {
  world.schedule.close();
  world.webhooks.clear();
  world.http.close();
  world.links.close();
  world.journal.close();
  world.media.close();
}
