import { type MessagePayload, maxTextLength } from "../../../contract/src/payloads.ts";
import { cleanText } from "./clean.ts";
import type { InboundEvent } from "./connector.ts";

/** Longest name of a person or a group that is kept, in code points. */
export const maxNameLength = 200;
/** Longest name of a place, in code points. Source: the location payload. */
const maxPlaceLength = 1000;
/** Longest emoji, in code points. Source: the reaction payload. */
const maxEmojiLength = 32;
/** Seconds since the epoch up to which a time is believed: the year 3000. */
const maxSeconds = 32_503_680_000;

/** What a person wrote; `[empty message]` when there is nothing to read. */
export function textOf(text: string): MessagePayload {
  return { type: "text", text: cleanText(text, maxTextLength) || "[empty message]" };
}

/** What a person sent that the hub has no payload for: its kind in brackets, then the words that came with it. */
export function namedText(kind: string, words = ""): MessagePayload {
  return textOf(words === "" ? `[${kind}]` : `[${kind}] ${words}`);
}

/** A place, or its mention when the coordinates cannot be believed. */
export function locationOf(latitude: number, longitude: number, name: string): MessagePayload {
  const isOnEarth = Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180;
  if (!isOnEarth) return namedText("location", name);
  const place = cleanText(name, maxPlaceLength);
  return { type: "location", latitude, longitude, ...(place && { name: place }) };
}

/**
 * A reaction; an empty emoji takes it back. `message_id` is left to the core: see `InboundEvent`. Without a target it is
 * only a mention.
 */
export function reactionOf(emoji: string, target: string): MessagePayload {
  if (target === "") return namedText("reaction", emoji);
  return { type: "reaction", message_id: "", emoji: cleanText(emoji, maxEmojiLength) };
}

export function nameOf(name: string): string | null {
  return cleanText(name.trim(), maxNameLength) || null;
}

/** Unix milliseconds of a platform's Unix seconds; 0 when it gave none that can be believed. */
export function timeOf(seconds: number): number {
  return seconds > 0 && seconds < maxSeconds ? Math.round(seconds * 1000) : 0;
}

export function ignored(what: string): InboundEvent {
  return { kind: "ignored", what: cleanText(what, 200) };
}

/** Oldest first, things of the same time as they came; what was ignored last, since it has no time. */
export function oldestFirst<Thing extends object>(things: Thing[]): Thing[] {
  if (things.length < 2) return things;
  const time = (thing: Thing) => ("at" in thing ? Number(thing.at) : Number.MAX_SAFE_INTEGER);
  return things.sort((a, b) => time(a) - time(b));
}
