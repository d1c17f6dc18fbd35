import { setTimeout as delay } from "node:timers/promises";
import { type Generator, startGenerator } from "../load/generator.ts";
import type { Traffic } from "../load/requests.ts";
import type { LoadResult, Pace } from "../load/run-load.ts";
import { CheckFailed } from "../measure.ts";
import type { Observer, Scene, Watched } from "../watch/observer.ts";
import { countStatementsFromNextStart } from "../watch/statements.ts";
import { type BenchHub, openDataDir, startHub } from "./bench-hub.ts";
import { call, each, setUp, type Workplace } from "./setup.ts";
import { type Inbox, openInbox } from "./simulator.ts";

/** A hub on a database that was empty at first, people to write to, and a generator that writes. */
export interface Stage extends Workplace {
  hub: BenchHub;
  generator: Generator;
  /** What the platform received since the hub's first start. */
  inbox: Inbox;
  workspaceId: string;
  traffic(batchSize: number): Traffic;
  /** One run of the generator, watched; its messages are counted. */
  load(name: string, load: { traffic: Traffic; connections: number; pace: Pace }): Promise<Watched<Loaded>>;
  /** Adds messages that were accepted without the generator's `load`. */
  count(accepted: number): void;
  /** Messages that were accepted so far. */
  readonly accepted: number;
}

type Loaded = LoadResult & { messages: number };

interface StageOptions {
  roles: string;
  people: number;
  /** So many messages it first accepts, until V8 has compiled what is hot: the first ones cost twice as much. */
  warmUpMessages: number;
  /** Opens the inspector, and lets the database count statements, as a profile does. */
  isCounting: boolean;
}

/**
 * `accept` measures what accepting costs and nothing else: the messages wait on the bus, because on a machine with few
 * cores the steps that follow would take the processor from the one that is measured. `sockets` publishes the messages
 * too, and does not route them, because deliveries would be events. `whole` is what `npm start` starts.
 */
const kinds = {
  accept: { roles: "api", people: 200, warmUpMessages: 25_000, isCounting: false },
  whole: { roles: "all", people: 500, warmUpMessages: 0, isCounting: false },
  sockets: { roles: "api,realtime", people: 200, warmUpMessages: 0, isCounting: true },
} as const satisfies Record<string, StageOptions>;

/** So many that it is short. */
const warmUpConnections = 256;
/** On a slow machine the rest of the warm-up is left out. */
const maxWarmUpTurns = 15;
/**
 * By then a hub without work has collected the garbage of its start, in milliseconds. That stops it once, drops compiled
 * functions and shrinks the space of new objects, so the next 30,000 requests cost a fifth more: it must not happen
 * between two turns.
 */
const startGarbageMs = 4_500;

export type StageKind = keyof typeof kinds;

/** One hub at a time, which measures of the same kind share: to start one takes seconds. */
export class Stages implements AsyncDisposable {
  readonly #observer: Observer;
  readonly #turnMs: number;
  #kind: StageKind | null = null;
  #stage: Promise<Stage> | null = null;
  #resources = new AsyncDisposableStack();

  constructor(observer: Observer, turnMs: number) {
    this.#observer = observer;
    this.#turnMs = turnMs;
  }

  async get(kind: StageKind): Promise<Stage> {
    if (this.#kind !== kind || this.#stage === null) {
      await this.close();
      this.#kind = kind;
      this.#stage = openStage(this.#resources, this.#observer, kind).then((stage) => this.#warmUp(stage, kind));
    }
    return this.#stage;
  }

  async #warmUp(stage: Stage, kind: StageKind): Promise<Stage> {
    // Measures of sockets collect garbage themselves.
    if (kind !== "sockets") await delay(startGarbageMs);
    const { warmUpMessages } = kinds[kind];
    const load = { traffic: stage.traffic(1), connections: warmUpConnections };
    for (let turn = 0; turn < maxWarmUpTurns && stage.accepted < warmUpMessages; turn += 1) {
      await stage.load("warm-up", { ...load, pace: { kind: "closed", durationMs: this.#turnMs, warmUpMs: 0 } });
    }
    return stage;
  }

  /** The next measure gets a new hub. */
  async close(): Promise<void> {
    const resources = this.#resources;
    this.#stage = null;
    this.#resources = new AsyncDisposableStack();
    await resources.disposeAsync();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export async function openStage(
  resources: AsyncDisposableStack,
  observer: Observer,
  kind: StageKind,
  settings: Record<string, string> = {},
): Promise<Stage> {
  const { roles, people, isCounting } = kinds[kind];
  const dataDir = resources.use(openDataDir()).path;
  const isInspected = isCounting || observer.isProfiling;
  if (isInspected) {
    await using first = await startHub({ dataDir, roles });
    await countStatementsFromNextStart(first.databaseUrl);
  }
  // Log-ins of many people come from one address.
  const env = { RATE_LIMIT_ADDRESS: "off", TRUST_PROXY: "1", ...settings };
  const hub = resources.use(await startHub({ dataDir, roles, isInspected, env }));
  const workplace = await setUp(hub, people);
  const generator = resources.use(await startGenerator());
  const conversationIds = workplace.conversations.map(({ conversationId }) => conversationId);
  const { url } = hub;
  const { authorization } = workplace;
  const { workspace_id: workspaceId } = await call<{ workspace_id: string }>(url, "/v1/me", authorization);
  let accepted = 0;
  return {
    ...workplace,
    hub,
    generator,
    inbox: openInbox(hub.simulatorUrl),
    workspaceId,
    traffic: (batchSize) => ({ url, authorization, conversationIds, batchSize }),
    async load(name, load) {
      const scene: Scene = { name, hub, generatorPid: generator.pid };
      const watched = await observer.watch(scene, async () => {
        const result = await generator.run(load);
        return { ...result, messages: result.accepted };
      });
      accepted += watched.messages;
      return watched;
    },
    count(more) {
      accepted += more;
    },
    get accepted() {
      return accepted;
    },
  };
}

/** Every message that got 202 has a place in its conversation, and no other has one. */
export async function checkAccepted({ hub, authorization, conversations, accepted }: Stage): Promise<void> {
  const counts = await each(conversations, async ({ conversationId }) => {
    const { last_seq } = await call<{ last_seq: number }>(
      hub.url,
      `/v1/conversations/${conversationId}`,
      authorization,
    );
    return last_seq;
  });
  const stored = counts.reduce((sum, count) => sum + count, 0);
  if (stored !== accepted) throw new CheckFailed(`${accepted} messages were accepted, ${stored} are there.`);
}
