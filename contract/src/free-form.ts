import { Type } from "typebox";

/** How large an object with the caller's own fields may be. */
export interface FreeFormLimits {
  readonly maxBytes: number;
  readonly maxValues: number;
  /** How deep objects and arrays may be nested, the object itself included. */
  readonly maxDepth: number;
}

/** The keyword of JSON Schema by which the server checks `FreeFormLimits`. */
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
