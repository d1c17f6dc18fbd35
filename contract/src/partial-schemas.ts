import type { Scope } from "./access.ts";
import type { Schema } from "./readable-schemas.ts";

/** Marks a schema that `partialSchema` made. */
export const partialMark = "x-partial";

/**
 * The schema of a response to an API key without `scope`: only ids and what the operation `shows` are required. Unchanged
 * where that is all of it.
 */
export function partialSchema(schema: Schema, scope: Scope, shows: readonly string[]): Schema {
  const { title, examples: _, ...whole } = schema;
  const { properties = {}, required = [] } = whole as { properties?: Record<string, Schema>; required?: string[] };
  const within = (name: string) =>
    shows.filter((path) => path.startsWith(`${name}.`)).map((path) => path.slice(name.length + 1));
  const isShown = (name: string) => name.endsWith("_id") || shows.includes(name) || within(name).length > 0;
  const changed = Object.entries(properties).flatMap(([name, one]) => {
    const inner = within(name);
    if (inner.length === 0) return [];
    const { items } = one as { items?: Schema };
    const partial =
      items === undefined ? partialSchema(one, scope, inner) : { ...one, items: partialSchema(items, scope, inner) };
    return [[name, partial]];
  });
  const kept = required.filter(isShown);
  if (kept.length === required.length && changed.length === 0) return schema;
  const partial = { ...whole, required: kept, properties: { ...properties, ...Object.fromEntries(changed) } };
  if (title === undefined) return partial;
  const description =
    `A \`${title}\` that may lack fields. To an API key without \`${scope}\`, the response shows only ids, the values that ` +
    "the request sent, and the other fields that are required here.";
  return { ...partial, title: `Partial${title}`, description, [partialMark]: true };
}
