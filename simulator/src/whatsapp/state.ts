import { BoundedMap } from "../bounded-map.ts";
import { isRecord } from "../fields.ts";
import { Throughput } from "../throughput.ts";
import type { World } from "../world.ts";

/** People remembered for windows and blocks. */
const MAX_PEOPLE = 100_000;

/**
 * How long free-form messages stay allowed after a person wrote. Source: WhatsApp Cloud API, messaging limits and
 * windows.
 */
export const WINDOW_MS = 24 * 60 * 60 * 1000;

/** What a running WhatsApp remembers besides messages. People are named `<account> <wa_id or user id>`. */
export interface WhatsAppState {
  readonly world: World;
  readonly throughput: Throughput;
  /** When each person last wrote, in Unix milliseconds. */
  readonly lastHeard: BoundedMap<string, number>;
  readonly blocked: BoundedMap<string, true>;
  /** The sender of a message, in the form of `Face.person`. */
  readonly written: BoundedMap<string, string>;
}

export function openState(world: World): WhatsAppState {
  return {
    world,
    throughput: new Throughput(world.now),
    lastHeard: new BoundedMap(MAX_PEOPLE),
    blocked: new BoundedMap(MAX_PEOPLE),
    written: new BoundedMap(MAX_PEOPLE),
  };
}

/** Writes the open windows as JSON, and reads them. */
export function saveWindows({ world, lastHeard }: WhatsAppState): unknown {
  return { heard: [...lastHeard].filter(([, heardAt]) => world.now() - heardAt <= WINDOW_MS) };
}

export function restoreWindows({ lastHeard }: WhatsAppState, saved: unknown): void {
  if (!isRecord(saved)) return;
  for (const [person, heardAt] of saved.heard as [string, number][]) lastHeard.set(person, heardAt);
}
