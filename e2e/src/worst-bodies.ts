/** Bodies that take as long to check as a schema allows, and worse ones. */
import { metadataLimits } from "../../contract/src/people.ts";

export interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  maxLength?: number;
  maxItems?: number;
  maxProperties?: number;
  pattern?: string;
  format?: string;
}

const mebibyte = 1024 * 1024;
const fill = (part: string, length = mebibyte - 200) => part.repeat(Math.floor(length / part.length));
const fields = (count: number, value = "1") =>
  `{${Array.from({ length: count }, (_, index) => `"${index.toString(36)}":${value}`).join(",")}}`;

/** Refused by every route, with any schema. */
export const hostileBodies: Record<string, string> = {
  "110,000 fields": fields(110_000)
    .slice(0, mebibyte - 100)
    .replace(/,[^,]*$/, "}"),
  "30 objects of 999 fields": fields(30, fields(999)),
  "29,000 empty objects": `[${fill("{},", 87_000)}1]`,
  "objects nested 170,000 deep": fill('{"a":'),
  "arrays nested 500,000 deep": fill("[", mebibyte / 2 - 200) + fill("]", mebibyte / 2 - 200),
  "500,000 elements": `[${fill("1,")}1]`,
  "a number of a million digits": fill("9"),
  "29,000 numbers with exponents": `[${fill("1.0000000000000000e5,", 29_000 * 21)}1]`,
  "a string of quotes": `"${fill('\\"')}"`,
  "a string that never ends": `"${fill("\\\\")}`,
  "a million backslashes": fill("\\"),
  "a name of a million characters": `{"${fill("é")}":1}`,
  "a name of prototypes": `{"a":${fields(900, '{"__proto__":{},"constructor":{"prototype":{}}}')}}`,
  "300,000 commas": fill(","),
};

/** Values for any field, each as large as a body allows. */
const hostileValues = (schema: Schema): string[] => {
  const types = [schema.type ?? "object"].flat();
  return [
    ...(types.includes("string")
      ? [`"${fill("a")}"`, `"${fill("\\\\")}"`, `"${fill("é ")}"`, `"${fill("\\u0001")}"`]
      : []),
    ...(types.includes("object")
      ? [fields(29, fields(990)), fields(990, '"x"'), fill('{"a":', 150) + fill("}", 30)]
      : []),
    ...(types.includes("array")
      ? [`[${fill("1,", 58_000)}1]`, `[${fill("{},", 87_000)}1]`, `[${fill('"a",', 100_000)}"a"]`]
      : []),
    ...(types.includes("number") || types.includes("integer") ? [fill("9"), fields(990)] : []),
  ];
};

/** The valid body with one field replaced, for each field and each hostile value. */
export function* hostileFields(schema: Schema, valid: unknown, path: string[] = []): Generator<[string, string]> {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const forms = [property, ...(property.anyOf ?? []), ...(property.oneOf ?? [])];
    const values = new Set(forms.flatMap(hostileValues));
    let count = 0;
    for (const value of values) {
      count += 1;
      const mark = "\u2603 hostile";
      const body = JSON.stringify({ ...(valid as object), [name]: mark }).replace(JSON.stringify(mark), () => value);
      yield [`${[...path, name].join(".")} ${count}`, body];
    }
  }
}

/**
 * The valid body with every field as large as the schema allows: with few large items, or with as many items as a body
 * may have.
 */
export function largest(schema: Schema, valid: unknown, items: "few" | "many"): unknown {
  if (schema.oneOf !== undefined && valid !== null && typeof valid === "object") {
    const kind = (valid as { type?: unknown }).type;
    const form = schema.oneOf.find(({ properties }) => properties?.type?.const === kind);
    return form === undefined ? valid : largest(form, valid, items);
  }
  if (Array.isArray(valid)) {
    if (schema.items === undefined || valid.length === 0) return valid;
    const item = largest(schema.items, valid[0], items);
    const fitting = Math.floor((mebibyte - 1_000) / (JSON.stringify(item).length * 1.1));
    return Array.from({ length: Math.min(schema.maxItems ?? 1, fitting) }, () => item);
  }
  if (valid !== null && typeof valid === "object") {
    const grown = Object.entries(valid).map(([name, value]) => [
      name,
      largest(schema.properties?.[name] ?? {}, value, items),
    ]);
    const takesMetadata = schema.properties?.metadata !== undefined;
    return { ...Object.fromEntries(grown), ...(takesMetadata && { metadata: largestMetadata(items) }) };
  }
  const isFree = schema.pattern === undefined && schema.format === undefined && schema.enum === undefined;
  if (typeof valid === "string" && isFree && schema.maxLength !== undefined && schema.maxLength > 250) {
    return items === "few" ? "\\".repeat(schema.maxLength) : valid;
  }
  return valid;
}

/** The document does not show the limits as keywords. */
function largestMetadata(items: "few" | "many"): unknown {
  const count = items === "many" ? 7 : metadataLimits.maxValues / 2 - 20;
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`key ${index}`, ['x\u0001\\"é']]));
}
