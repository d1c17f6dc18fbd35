import { invalid } from "../errors.ts";
import { isUuid } from "../lib/ids.ts";
import { type JsonLimits, parseJsonText, UnreadableJson } from "../lib/json-text.ts";

export type ClientFrame =
  | { type: "start" }
  | { type: "resume"; cursor: string }
  | { type: "read"; conversation_id: string; seq: number }
  | { type: "typing"; conversation_id: string }
  | { type: "ping" };

const maxCursorLength = 500;

const fields: Record<ClientFrame["type"], Record<string, { test: (value: unknown) => boolean; must: string }>> = {
  start: {},
  resume: {
    cursor: {
      test: (value) => typeof value === "string" && value.length <= maxCursorLength,
      must: "a cursor, as text",
    },
  },
  read: { conversation_id: uuid(), seq: { test: (value) => Number.isSafeInteger(value), must: "a whole number" } },
  typing: { conversation_id: uuid() },
  ping: {},
};

/** Throws VALIDATION_ERROR that says what is wrong. */
export function parseClientFrame(text: Buffer): ClientFrame {
  const frame = parseJson(text);
  if (frame === null || typeof frame !== "object" || Array.isArray(frame)) throw invalid("A frame is a JSON object.");
  const { type, ...given } = frame as Record<string, unknown>;
  if (typeof type !== "string" || !Object.hasOwn(fields, type)) {
    throw invalid(`type must be one of: ${Object.keys(fields).join(", ")}.`, { field: "type" });
  }
  const wanted = fields[type as ClientFrame["type"]];
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(wanted, name)) throw invalid(`A ${type} frame has no field ${name.slice(0, 100)}.`);
  }
  for (const [name, { test, must }] of Object.entries(wanted)) {
    if (!test(given[name])) throw invalid(`${name} must be ${must}.`, { field: name });
  }
  return frame as ClientFrame;
}

function uuid() {
  return { test: (value: unknown) => typeof value === "string" && isUuid(value), must: "a UUID" };
}

/** Frames are flat; a larger or deeper one is refused before it is parsed. */
const frameLimits: JsonLimits = { maxDepth: 8, maxFields: 100, maxValues: 100, isExact: true, isExactAt: () => false };

function parseJson(text: Buffer): unknown {
  try {
    return parseJsonText(text, frameLimits);
  } catch (error) {
    if (error instanceof UnreadableJson) throw invalid(`The frame ${error.message}.`);
    throw error;
  }
}
