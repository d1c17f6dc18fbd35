import { BoundedMap } from "../collections.ts";
import { isRecord } from "../fields.ts";
import type { Random } from "../random.ts";
import { openThroughput, type Throughput } from "../throughput.ts";
import type { World } from "../world.ts";

const maxPeople = 100_000;

/** Free-form messages are allowed for so long after a person wrote. Source: WhatsApp Cloud API, limits and windows. */
export const windowMs = 24 * 60 * 60 * 1000;

/** What a running WhatsApp remembers besides messages. People are named `<account> <wa_id or user id>`. */
export interface WhatsAppState {
  readonly world: World;
  readonly throughput: Throughput;
  readonly lastWrittenAt: BoundedMap<string, number>;
  readonly blocked: BoundedMap<string, true>;
  readonly written: BoundedMap<string, string>;
  /** Signs the URLs of media. */
  readonly urlKey: string;
  /** Raised when the URLs of a media id, or all URLs, expire before their time. */
  readonly urlsFrom: BoundedMap<string, number>;
  allUrlsFrom: number;
}

export function openState(world: World): WhatsAppState {
  return {
    world,
    throughput: openThroughput(world.now),
    lastWrittenAt: new BoundedMap(maxPeople),
    blocked: new BoundedMap(maxPeople),
    written: new BoundedMap(maxPeople),
    urlKey: world.random.fork("urls of media").hex(64),
    urlsFrom: new BoundedMap(maxPeople),
    allUrlsFrom: 0,
  };
}

export function saveWindows({ world, lastWrittenAt }: WhatsAppState): unknown {
  return { lastWritten: [...lastWrittenAt].filter(([, writtenAt]) => world.now() - writtenAt <= windowMs) };
}

export function restoreWindows({ lastWrittenAt }: WhatsAppState, saved: unknown): void {
  if (!isRecord(saved) || !Array.isArray(saved.lastWritten)) return;
  for (const [person, writtenAt] of saved.lastWritten as [string, number][]) lastWrittenAt.set(person, writtenAt);
}

const maxNameLength = 64;

/** A new message id, shaped like the platform's: opaque, different for every message in either direction. */
export function newMessageId(random: Random, who: string): string {
  const name = who.slice(0, maxNameLength);
  const length = String.fromCharCode(name.length);
  return `wamid.${btoa(`\x1c\x18${length}${name}\x15\x02\x00\x11\x18\x12${random.hex(18)}\x00`)}`;
}
