import { BoundedMap } from "../collections.ts";
import { isRecord } from "../fields.ts";
import { openThroughput, type Throughput } from "../throughput.ts";
import type { World } from "../world.ts";

const maxChats = 200_000;

const maxRecent = 10_000;

/** Without a seed, ids begin at the seconds since this moment, so that a restart without a journal repeats none. */
const idsSinceMs = Date.UTC(2025, 0, 1);

/** What a running Telegram remembers besides messages. Chats are named `<bot id> <chat id>`. */
export interface TelegramState {
  readonly world: World;
  readonly throughput: Throughput;
  readonly lastMessageId: BoundedMap<string, number>;
  readonly lastUpdateId: BoundedMap<string, number>;
  readonly recent: BoundedMap<string, Record<string, unknown>>;
  readonly names: BoundedMap<string, PersonName>;
  readonly blocked: BoundedMap<string, true>;
  readonly fileNumbers: BoundedMap<string, number>;
  /** Paths of files, named `<bot id> <path>`. */
  readonly paths: BoundedMap<string, { mediaId: string; validUntil: number }>;
  readonly polls: Map<string, (reason: string) => void>;
}

export interface PersonName {
  first_name: string;
  last_name?: string;
}

export function openState(world: World): TelegramState {
  return {
    world,
    throughput: openThroughput(world.now),
    lastMessageId: new BoundedMap(maxChats),
    lastUpdateId: new BoundedMap(maxChats),
    recent: new BoundedMap(maxRecent),
    names: new BoundedMap(maxRecent),
    blocked: new BoundedMap(maxChats),
    fileNumbers: new BoundedMap(maxRecent),
    paths: new BoundedMap(maxRecent),
    polls: new Map(),
  };
}

/** 1, 2, 3 … in each chat, both directions together. Source: Telegram Bot API, available types. */
export function nextMessageId(state: TelegramState, bot: string, chat: string): number {
  return next(state, state.lastMessageId, `${bot} ${chat}`);
}

export function nextUpdateId(state: TelegramState, bot: string): number {
  return next(state, state.lastUpdateId, bot);
}

/** Keeps an id that an earlier run gave from being given again. */
export function seen(ids: BoundedMap<string, number>, name: string, id: unknown): void {
  if (typeof id === "number" && id > (ids.get(name) ?? 0)) ids.set(name, id);
}

export function saveCounters(state: TelegramState): unknown {
  return { messages: [...state.lastMessageId], updates: [...state.lastUpdateId] };
}

export function restoreCounters(state: TelegramState, saved: unknown): void {
  if (!isRecord(saved)) return;
  for (const [chat, id] of saved.messages as [string, number][]) seen(state.lastMessageId, chat, id);
  for (const [bot, id] of saved.updates as [string, number][]) seen(state.lastUpdateId, bot, id);
}

function next({ world }: TelegramState, ids: BoundedMap<string, number>, name: string): number {
  const start = world.seeded ? 0 : Math.max(0, Math.floor((world.now() - idsSinceMs) / 1000));
  const id = (ids.get(name) ?? start) + 1;
  ids.set(name, id);
  return id;
}
