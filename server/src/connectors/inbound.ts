import { type MessagePayload, maxTextLength } from "../../../contract/src/payloads.ts";
import { cleanText } from "./clean.ts";
import type { InboundEvent } from "./connector.ts";

// In code points; those of places and emoji are the bounds of their payloads.
const maxNameLength = 200;
const maxPlaceLength = 1000;
const maxEmojiLength = 32;
/** The latest plausible time: the year 3000. */
const maxSeconds = 32_503_680_000;

export function textOf(text: string): MessagePayload {
  return { type: "text", text: cleanText(text, maxTextLength) || "[empty message]" };
}

/** Content without a payload of the hub: its kind in brackets and the words that came with it. */
export function namedText(kind: string, words = ""): MessagePayload {
  return textOf(words === "" ? `[${kind}]` : `[${kind}] ${words}`);
}

/** A text for implausible coordinates. */
export function locationOf(latitude: number, longitude: number, name: string): MessagePayload {
  const isOnEarth = Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180;
  if (!isOnEarth) return namedText("location", name);
  const place = cleanText(name, maxPlaceLength);
  return { type: "location", latitude, longitude, ...(place && { name: place }) };
}

/** An empty emoji removes the reaction. Without a target it becomes a text. The core sets `message_id`. */
export function reactionOf(emoji: string, target: string): MessagePayload {
  if (target === "") return namedText("reaction", emoji);
  return { type: "reaction", message_id: "", emoji: cleanText(emoji, maxEmojiLength) };
}

export function nameOf(name: string): string | null {
  return cleanText(name.trim(), maxNameLength) || null;
}

/** Unix milliseconds; 0 without a plausible time. */
export function timeOf(seconds: number): number {
  return seconds > 0 && seconds < maxSeconds ? Math.round(seconds * 1000) : 0;
}

export function ignored(what: string): InboundEvent {
  return { kind: "ignored", what: cleanText(what, 200) };
}

/** Oldest first, and stable; ignored things have no time and are last. */
export function oldestFirst<Thing extends object>(things: Thing[]): Thing[] {
  if (things.length < 2) return things;
  const time = (thing: Thing) => ("at" in thing ? Number(thing.at) : Number.MAX_SAFE_INTEGER);
  return things.sort((a, b) => time(a) - time(b));
}
