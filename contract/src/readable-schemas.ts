/** Schemas of JSON in a form that code generators read. */

export type Json = Record<string, unknown>;
export type Schema = Json;

export function severalTypes({ type }: Schema): boolean {
  return Array.isArray(type) && type.filter((one) => one !== "null").length > 1;
}

const keywords: Record<string, readonly string[]> = {
  string: ["minLength", "maxLength", "pattern", "format"],
  object: ["required", "properties", "additionalProperties", "propertyNames", "maxProperties"],
  array: ["items", "maxItems"],
};

/** Generators read one type besides null. Throws for a keyword of no known type. */
export function onePerType({ type, description, ...rest }: Schema): Schema {
  const anyOf = (type as string[]).map((one) => {
    const own = Object.entries(rest).filter(([keyword]) => keywords[one]?.includes(keyword));
    return { type: one, ...Object.fromEntries(own) };
  });
  const lost = Object.keys(rest).filter((keyword) => !anyOf.some((one) => keyword in one));
  if (lost.length > 0) throw new Error(`${lost.join(", ")}: of which of the types ${type}?`);
  return { anyOf, ...(description === undefined ? {} : { description }) };
}

/** Of a boolean: some generators write an enum of texts for a constant that is none. */
export function withoutConstant({ const: value, description, ...rest }: Schema): Schema {
  const always = `Always \`${value}\`.`;
  return { ...rest, description: description === undefined ? always : `${description} ${always}` };
}

/** Generators would read all lines as one value of the schema. */
export function showLines(contentType: string, schema: Schema): Schema {
  if (contentType !== "application/x-ndjson") return schema;
  return { type: "string", description: `Each line is the JSON of one \`${String(schema.$ref).split("/").at(-1)}\`.` };
}
