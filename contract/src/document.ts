import { isDeepStrictEqual } from "node:util";
import type { TSchema } from "typebox";
import { type Access, readScopeOf, type Scope } from "./access.ts";
import type { WebhookShape } from "./events.ts";
import { type ErrorStatus, isCounted, type Operation, paramsOf } from "./operation.ts";
import { partialMark, partialSchema } from "./partial-schemas.ts";
import { type Json, onePerType, type Schema, severalTypes, showLines, withoutConstant } from "./readable-schemas.ts";
import { componentNamed, ErrorBody, idempotencyKey, pascalCase } from "./schemas.ts";

/** Status, name of the component, and what it means. */
const errors: Record<ErrorStatus, readonly [name: string, meaning: string]> = {
  400: ["BadRequest", "`VALIDATION_ERROR`: the request breaks the schema or a stated rule."],
  401: ["Unauthorized", "`AUTH_REQUIRED`, `AUTH_INVALID`, `AUTH_EXPIRED` or `API_KEY_INVALID`: no valid credential."],
  403: ["Forbidden", "`FORBIDDEN`: the caller may not do this."],
  404: ["NotFound", "`RESOURCE_NOT_FOUND`: it does not exist, or belongs to another workspace."],
  409: ["Conflict", "`CONFLICT` or `IDEMPOTENCY_CONFLICT`."],
  413: ["PayloadTooLarge", "`PAYLOAD_TOO_LARGE` or `FILE_TOO_LARGE`: it is larger than this operation accepts."],
  415: [
    "UnsupportedMediaType",
    "`CONTENT_TYPE_INVALID`: send the content type of the operation. `FILE_TYPE_INVALID`: such files are not accepted.",
  ],
  421: ["MisdirectedRequest", "`MISDIRECTED`: this process serves no realtime clients."],
  422: ["UnprocessableContent", "The request is valid, but cannot be done: `error.code` says why."],
  429: ["TooManyRequests", "`RATE_LIMIT_EXCEEDED`: retry after `retry-after` seconds."],
  503: ["ServiceUnavailable", "`OVERLOADED`: retry after `retry-after` seconds."],
};

interface DocumentInfo {
  title: string;
  version: string;
  description: string;
  license?: { name: string; url: string };
}

/** The pattern of the names of a `Type.Record` with any text as a name. */
const anyName = "^.*$";

const signed = "Signed by the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.";

/** Writes the document. Throws for two operations at one place, and for a component that is used but not named. */
export function writeDocument(
  info: DocumentInfo,
  operations: readonly Operation[],
  webhooks: readonly WebhookShape[],
): Json {
  const schemas = new Map<string, Json>();
  const partials = new Map<string, Schema>();
  const paths: Record<string, Json> = {};

  /** The schema as JSON; a named one is a reference, and becomes a component. */
  function show(schema: Schema): Json {
    const { title, ...rest } = schema;
    const component = typeof title === "string" ? findComponent(title, schema) : undefined;
    if (component === undefined) return showInside(schema);
    if (!schemas.has(title as string)) {
      schemas.set(title as string, {});
      const { title: _, ...own } = component;
      schemas.set(title as string, showInside(own as Schema));
    }
    const reference = { $ref: `#/components/schemas/${title}` };
    const { description } = rest as Json;
    const added = description === undefined || description === component.description ? {} : { description };
    if (takesNull(rest) && !takesNull(component)) {
      return { anyOf: [reference, { type: "null" }], ...added };
    }
    return { ...reference, ...added };
  }

  function findComponent(name: string, schema: Schema): Schema | undefined {
    if (schema[partialMark] !== true) return componentNamed(name) as Schema | undefined;
    const known = partials.get(name) ?? schema;
    if (!isDeepStrictEqual(known, schema)) throw new Error(`Two different schemas are named ${name}.`);
    partials.set(name, schema);
    return schema;
  }

  function showInside(schema: Schema): Json {
    const shown = Object.entries(schema).filter(([key]) => !key.startsWith("x-"));
    const inside: Json = Object.fromEntries(shown.map(([key, value]) => [key, showValue(key, value)]));
    const { enum: values, patternProperties: record } = schema as { enum?: unknown[]; patternProperties?: object };
    // Generators derive no type from the values of an enum, and do not read patternProperties.
    if (values !== undefined && schema.type === undefined) {
      const { description, ...others } = inside;
      const known = values.filter((value) => value !== null);
      const shown = { type: typeof known[0], ...others, enum: known };
      const added = description === undefined ? {} : { description };
      return known.length === values.length ? { ...shown, ...added } : { anyOf: [shown, { type: "null" }], ...added };
    }
    if (record !== undefined && anyName in record) {
      const { patternProperties, ...others } = inside;
      return { ...others, additionalProperties: (patternProperties as Json)[anyName] };
    }
    if (typeof schema.const === "boolean") return withoutConstant(inside);
    if (severalTypes(schema)) return onePerType(inside);
    if (schema.discriminator !== undefined) inside.discriminator = withMapping(schema, inside);
    return inside;
  }

  /** Without a mapping the values would have to be the names of the components. */
  function withMapping({ discriminator, oneOf }: Schema, inside: Json): Json {
    const { propertyName } = discriminator as { propertyName: string };
    const references = inside.oneOf as { $ref: string }[];
    const mapping = (oneOf as { properties: Record<string, { const?: string; enum?: string[] }> }[]).flatMap(
      ({ properties }, index) => {
        const { const: value, enum: values = [value] } = properties[propertyName]!;
        return values.map((one) => [one, references[index]!.$ref]);
      },
    );
    return { propertyName, mapping: Object.fromEntries(mapping) };
  }

  function showValue(key: string, value: unknown): unknown {
    if (["properties", "patternProperties", "$defs"].includes(key)) {
      return Object.fromEntries(Object.entries(value as Json).map(([name, one]) => [name, show(one as Schema)]));
    }
    if (["oneOf", "anyOf", "allOf", "prefixItems"].includes(key)) return (value as Schema[]).map(show);
    const isSchema =
      ["items", "additionalProperties", "propertyNames", "not"].includes(key) && typeof value === "object";
    return isSchema ? show(value as Schema) : value;
  }

  for (const operation of operations) {
    const place = paths[operation.path] ?? {};
    paths[operation.path] = place;
    const method = operation.method.toLowerCase();
    if (method in place) throw new Error(`Two operations are ${operation.method} ${operation.path}.`);
    place[method] = showOperation(operation, show);
  }
  const called = webhooks.map(({ name, body }) => [name, { post: showWebhook(name, show(body as object as Schema)) }]);
  const tags = [...new Set([...operations.map(({ tag }) => tag), ...(webhooks.length === 0 ? [] : [webhookTag])])];
  return {
    openapi: "3.1.0",
    info,
    tags: tags.map((name) => ({ name })),
    security: [{ bearer: [] }],
    paths,
    webhooks: Object.fromEntries(called),
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
      parameters: { IdempotencyKey: showParameter(keyHeader, show) },
      responses: Object.fromEntries(
        Object.values(errors).map(([name, description]) => [name, errorAnswer(description, show)]),
      ),
      schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

function takesNull({ type, enum: values }: { type?: unknown; enum?: unknown }): boolean {
  return (Array.isArray(type) && type.includes("null")) || (Array.isArray(values) && values.includes(null));
}

/** Generators write a class for each tag: it must not be that of an operation. */
const webhookTag = "Webhooks";

function showWebhook(name: string, schema: Json): Json {
  const word = pascalCase(name);
  return {
    operationId: `${word[0]!.toLowerCase()}${word.slice(1)}Webhook`,
    tags: [webhookTag],
    summary: `Receive ${name} at a webhook endpoint`,
    description: signed,
    security: [],
    requestBody: { required: true, content: { "application/json": { schema } } },
    responses: { "2XX": { description: "Accepted. Any other response is a failure: the event is sent again." } },
  };
}

function errorAnswer(description: string, show: (schema: Schema) => Json): Json {
  return { description, content: { "application/json": { schema: show(ErrorBody as object as Schema) } } };
}

function showOperation(operation: Operation, show: (schema: Schema) => Json): Json {
  const { id, tag, summary, access, body, bodyType = "application/json", isBodyOptional = false } = operation;
  const description = describe(operation);
  const { query, headers } = operation;
  const parameters = [
    ...parametersOf("path", paramsOf(operation)),
    ...parametersOf("query", query),
    ...parametersOf("header", headers),
  ].map((parameter) => showParameter(parameter, show));
  if (operation.idempotent !== undefined) parameters.push({ $ref: "#/components/parameters/IdempotencyKey" });
  const described = Object.entries(operation.answers).map(([status, schema]) => [
    status,
    showAnswer(operation, Number(status), schema, show),
  ]);
  const refusals = errorsOf(operation).map((status) => [
    status,
    { $ref: `#/components/responses/${errors[status][0]}` },
  ]);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description === "" ? {} : { description }),
    ...(access === "public" ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: !isBodyOptional,
            content: { [bodyType]: { schema: show(body as object as Schema) } },
          },
        }),
    responses: Object.fromEntries([...described, ...refusals]),
  };
}

/** With who may call it, and what an API key without the read scope sees of the response. */
function describe(operation: Operation): string {
  const { description = "", access, answers } = operation;
  const parts = [description, requirementOf(access)];
  const hasBody = Object.values(answers).some((schema) => schema !== null);
  const limit = limitOf(operation);
  if (limit !== null && hasBody) {
    const { scope, shows } = limit;
    const also = shows.length === 0 ? "" : `, and ${shows.map(codeSpan).join(", ")}`;
    parts.push(
      `To an API key without \`${scope}\`, the response shows only ids and the values that the request sent${also}.`,
    );
  }
  return parts.filter((part) => part !== "").join("\n\n");
}

/** Without which scope an API key sees less of the responses, and what it sees nevertheless. */
function limitOf({ access, shows = [] }: Operation): { scope: Scope; shows: readonly string[] } | null {
  const scope = readScopeOf(access);
  return scope === null || shows === "all" ? null : { scope, shows };
}

const codeSpan = (name: string) => `\`${name}\``;

function requirementOf(access: Access): string {
  if (access === "public") return "";
  const { role, scope, session = false } = access;
  const scopes = [scope ?? []].flat().map(codeSpan);
  const sentences = [
    role === "member" ? "" : `Requires the role \`${role}\`${role === "admin" ? "" : " or `admin`"}.`,
    session ? "Requires a user who has logged in: API keys get 403." : "",
    scopes.length === 0 ? "" : `An API key requires the scope${scopes.length > 1 ? "s" : ""} ${scopes.join(", ")}.`,
  ];
  return sentences.filter((sentence) => sentence !== "").join(" ");
}

/** What a response holds: the description of its schema, or else its name in words. */
function contentOf({ title, description }: { title?: string; description?: string }, contentType: string): string {
  if (title === undefined) return description ?? "";
  const words = title
    .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toLowerCase()
    .replace(/\b(api|totp)\b/g, (acronym) => acronym.toUpperCase());
  if (contentType === "application/x-ndjson") return `All ${pluralOf(words)}, one a line.`;
  const page = /^(.*) page$/.exec(words);
  if (page !== null) return `A page of ${pluralOf(page[1]!)}.`;
  return description ?? `The ${words}.`;
}

const pluralOf = (words: string) => (/[^aeiou]y$/.test(words) ? `${words.slice(0, -1)}ies` : `${words}s`);

function showAnswer(
  operation: Operation,
  status: number,
  schema: TSchema | null,
  show: (schema: Schema) => Json,
): Json {
  const contentType: string = operation.contentType ?? "application/json";
  if (schema !== null) {
    const description = contentOf(schema, contentType);
    if (description === "") throw new Error(`${operation.id} does not say what its response holds.`);
    const whole = schema as object as Schema;
    const limit = status < 300 ? limitOf(operation) : null;
    const seen = limit === null ? whole : partialSchema(whole, limit.scope, limit.shows);
    // The document also has the complete schema, for those who know that they get all of it.
    show(whole);
    return {
      description: status < 400 ? description : "Not now: the body says why.",
      content: { [contentType]: { schema: showLines(contentType, show(seen)) } },
    };
  }
  if (status < 300) return { description: "Done; no body." };
  return { description: "Redirect; no body.", headers: { location: { schema: { type: "string" } } } };
}

function showParameter({ schema, ...parameter }: Parameter, show: (schema: Schema) => Json): Json {
  const { description, ...rest } = show(schema);
  return { ...parameter, ...(description === undefined ? {} : { description }), schema: rest };
}

interface Parameter {
  name: string;
  in: string;
  required: boolean;
  schema: Schema;
}

const keyHeader: Parameter = {
  name: "idempotency-key",
  in: "header",
  required: false,
  schema: idempotencyKey as object as Schema,
};

function parametersOf(place: string, schema: TSchema | undefined): Parameter[] {
  const { properties = {}, required = [] } = (schema ?? {}) as {
    properties?: Record<string, Schema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, one]) => ({
    name,
    in: place,
    required: required.includes(name),
    schema: one,
  }));
}

/** The errors that an operation may return, in ascending order. */
export function errorsOf(operation: Operation): ErrorStatus[] {
  const { access, path, query, body, answers, errors: others = [] } = operation;
  const hasInput = query !== undefined || body !== undefined || path.includes("{");
  const statuses = new Set<ErrorStatus>(others);
  if (isCounted(operation.method, operation.limit)) statuses.add(429);
  if (operation.limit !== "none" || operation.admission !== "always") statuses.add(503);
  if (hasInput) statuses.add(400);
  if (operation.idempotent !== undefined) statuses.add(400).add(409);
  if (access !== "public") statuses.add(401).add(403);
  if (path.includes("{")) statuses.add(404);
  return [...statuses].filter((status) => !(status in answers)).sort((a, b) => a - b);
}
