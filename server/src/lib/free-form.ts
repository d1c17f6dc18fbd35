import { Type } from "typebox";

/** How large an object with the caller's own fields may be. */
export interface FreeFormLimits {
  /** Size of its JSON in UTF-8. */
  readonly maxBytes: number;
  /** Fields and elements on all levels. */
  readonly maxValues: number;
  /** How deep objects and arrays may be nested, the object itself included. */
  readonly maxDepth: number;
}

/** The keyword of JSON Schema by which the door checks `FreeFormLimits`. */
export const freeFormKeyword = "x-free-form";

/** The schema of such an object. A `Type.Record` would drop names with a line end in them. */
export function freeForm(limits: FreeFormLimits, description: string) {
  return Type.Unsafe<Record<string, unknown>>({
    type: "object",
    additionalProperties: true,
    description,
    [freeFormKeyword]: limits,
  });
}

/**
 * Which limit parsed JSON exceeds, as the rest of a sentence; null when none. Stops at the first excess. Counts each
 * character as one byte: the exact size is known only when the JSON is written.
 */
export function findExcess(value: unknown, { maxBytes, maxValues, maxDepth }: FreeFormLimits): string | null {
  let bytes = 0;
  let values = 0;

  function visit(inside: unknown, depth: number): string | null {
    if (typeof inside === "string") bytes += inside.length + 2;
    else if (inside === null || typeof inside !== "object") bytes += 1;
    else if (depth === maxDepth) return `is nested more than ${maxDepth} deep`;
    else {
      for (const name in inside) {
        values += 1;
        bytes += Array.isArray(inside) ? 1 : name.length + 4;
        const excess = visit((inside as Record<string, unknown>)[name], depth + 1);
        if (excess !== null) return excess;
      }
    }
    if (bytes > maxBytes) return `is longer than ${maxBytes} bytes of JSON`;
    return values > maxValues ? `has more than ${maxValues} fields and elements` : null;
  }

  return visit(value, 0);
}

/** Limits of the `metadata` of a message or a contact. */
export const metadataLimits: FreeFormLimits = { maxBytes: 16 * 1024, maxValues: 1_000, maxDepth: 20 };
/** The same in words. */
export const metadataRule =
  "Your own fields: at most 16 KiB of JSON with 1,000 fields and elements, nested at most 20 deep. A number that a double " +
  "does not represent exactly, such as 9007199254740993, is refused: send it as a string.";
