import { type Static, Type } from "typebox";
import { Value } from "typebox/value";

const response = Type.Object({
  summary: Type.String({ minLength: 1, maxLength: 20_000 }),
  key_points: Type.Array(Type.String({ maxLength: 2_000 }), { maxItems: 50 }),
});

/** The JSON object of a response, also when a model thinks aloud before it or puts a fence around it; null if there is none. */
export function parseResponse(content: string): Static<typeof response> | null {
  const spoken = content.slice(content.lastIndexOf("</think>") + 1);
  const json = spoken.slice(spoken.indexOf("{"), spoken.lastIndexOf("}") + 1);
  try {
    const value: unknown = JSON.parse(json);
    return Value.Check(response, value) ? value : null;
  } catch {
    return null;
  }
}
