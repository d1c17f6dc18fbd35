import { isObject } from "../lib/json.ts";
import { type JsonLimits, parseJsonText } from "../lib/json-text.ts";

/** An object of a platform's JSON. Check every field. */
export type Json = Readonly<Record<string, unknown>>;

export function parseObject(text: string): Json | null {
  return objectOr(() => JSON.parse(text));
}

/** WhatsApp sends up to 1,000 changes of about 30 fields each. */
const webhookLimits: JsonLimits = { maxDepth: 64, maxFields: 1_000, maxValues: 60_000, isExact: false };

/** As `parseObject`; also null beyond `webhookLimits`. */
export function parseWebhookBody(rawBody: Buffer): Json | null {
  return objectOr(() => parseJsonText(rawBody, webhookLimits));
}

function objectOr(parse: () => unknown): Json | null {
  try {
    const value = parse();
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

// The value of a field; a missing or different one is empty (NaN for a number).

export function objectAt(value: Json, key: string): Json {
  const found = value[key];
  return isObject(found) ? found : empty;
}

export function listAt(value: Json, key: string): readonly unknown[] {
  const found = value[key];
  return Array.isArray(found) ? found : nothing;
}

/** A number becomes its digits: platforms send ids as both. */
export function textAt(value: Json, key: string): string {
  const found = value[key];
  if (typeof found === "string") return found;
  return typeof found === "number" ? String(found) : "";
}

export function numberAt(value: Json, key: string): number {
  const found = value[key];
  if (typeof found === "number") return found;
  return typeof found === "string" && found !== "" ? Number(found) : Number.NaN;
}

const empty: Json = {};
const nothing: readonly unknown[] = [];
