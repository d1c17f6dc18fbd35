import { readFileSync } from "node:fs";
import { Ajv2020 as Ajv, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { lineFormat, visibleFormat } from "../../contract/src/schemas.ts";

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, ResponseOrReference> }>>;
}

interface ResponseOrReference {
  $ref?: string;
  content?: Record<string, { schema: { $ref?: string } }>;
}

export const openApi: OpenApi = JSON.parse(
  readFileSync(new URL("../../contract/openapi.json", import.meta.url), "utf8"),
);

/** The OpenAPI document with the component in place of each reference to it. No component contains itself. */
export function withoutReferences<Document>(document: object): Document {
  const inline = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inline);
    if (typeof value !== "object" || value === null) return value;
    const { $ref, ...rest } = value as { $ref?: string };
    const own = Object.fromEntries(Object.entries(rest).map(([name, one]) => [name, inline(one)]));
    return typeof $ref === "string" ? { ...(inline(at($ref)) as object), ...own } : own;
  };
  const at = (reference: string) =>
    reference
      .split("/")
      .slice(1)
      .reduce<unknown>((place, name) => (place as Record<string, unknown>)[name], document);
  return inline(document) as Document;
}

/** As the hub serves it. */
export async function readOpenApi<Document>(url: string): Promise<Document> {
  const answer = await fetch(`${url}/openapi.json`);
  return withoutReferences((await answer.json()) as object);
}

/** A JSON pointer into the document. */
export function pointerTo(...parts: readonly string[]): string {
  const escaped = parts.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1")));
  return `#/${escaped.join("/")}`;
}

/** The first error of a value against the schema at this pointer; null when there is none. */
export function schemaError(pointer: string, value: unknown): string | null {
  const validate = validatorOf(pointer);
  if (validate(value)) return null;
  const { instancePath, message } = validate.errors![0]!;
  return `${instancePath || "the body"} ${message}`;
}

const validators = new Map<string, ValidateFunction>();
let schemas: Ajv | null = null;

/** Compiles a schema when it is first needed. */
function validatorOf(pointer: string): ValidateFunction {
  schemas ??= readSchemas();
  const validate = validators.get(pointer) ?? schemas.compile({ $ref: `openapi${pointer}` });
  validators.set(pointer, validate);
  return validate;
}

function readSchemas(): Ajv {
  const ajv = new Ajv({ strict: false, validateSchema: false });
  addFormats.default(ajv);
  for (const format of [lineFormat, visibleFormat]) ajv.addFormat(format, true);
  return ajv.addSchema(openApi, "openapi");
}
