import { BoundedMap } from "../collections.ts";
import { isRecord } from "../fields.ts";
import { openThroughput, type Throughput } from "../throughput.ts";
import type { World } from "../world.ts";

/** People remembered for windows and blocks. */
const maxPeople = 100_000;

/**
 * How long free-form messages stay allowed after a person wrote. Source: WhatsApp Cloud API, messaging limits and
 * windows.
 */
export const windowMs = 24 * 60 * 60 * 1000;

/** What a running WhatsApp remembers besides messages. People are named `<account> <wa_id or user id>`. */
export interface WhatsAppState {
  readonly world: World;
  readonly throughput: Throughput;
  /** When each person last wrote, in Unix milliseconds. */
  readonly lastWrittenAt: BoundedMap<string, number>;
  readonly blocked: BoundedMap<string, true>;
  /** The sender of a message, in the form of `Face.person`. */
  readonly written: BoundedMap<string, string>;
}

export function openState(world: World): WhatsAppState {
  return {
    world,
    throughput: openThroughput(world.now),
    lastWrittenAt: new BoundedMap(maxPeople),
    blocked: new BoundedMap(maxPeople),
    written: new BoundedMap(maxPeople),
  };
}

/** Writes the open windows as JSON, and reads them. */
export function saveWindows({ world, lastWrittenAt }: WhatsAppState): unknown {
  return { lastWritten: [...lastWrittenAt].filter(([, writtenAt]) => world.now() - writtenAt <= windowMs) };
}

export function restoreWindows({ lastWrittenAt }: WhatsAppState, saved: unknown): void {
  if (!isRecord(saved) || !Array.isArray(saved.lastWritten)) return;
  for (const [person, writtenAt] of saved.lastWritten as [string, number][]) lastWrittenAt.set(person, writtenAt);
}
