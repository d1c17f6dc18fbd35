/** What the schemas of several resources share. */
import { type Static, type TSchema, Type } from "typebox";

const components = new Map<string, TSchema>();

/**
 * Makes the schema a component of the document under this name. Its `title` says so wherever it is used, also as
 * `nullable` or with its own description.
 */
export function named<T extends TSchema>(name: string, schema: T, example?: Static<T>): T {
  if (components.has(name)) throw new Error(`Two schemas are named ${name}.`);
  components.set(name, Object.assign(schema, { title: name }, example === undefined ? {} : { examples: [example] }));
  return schema;
}

export function pascalCase(name: string): string {
  return name.toLowerCase().replaceAll(/(?:^|[._])(\w)/g, (_all, letter: string) => letter.toUpperCase());
}

export function componentNamed(name: string): TSchema | undefined {
  return components.get(name);
}

/**
 * The schema or null, written as a list of types, because `anyOf` would make a serializer try each schema on every
 * value.
 */
export function nullable<T extends TSchema>(schema: T, options: { description?: string } = {}) {
  const { type, enum: values, const: value, ...rest } = schema as { type?: string; enum?: unknown[]; const?: unknown };
  const known = value === undefined ? values : [value];
  return Type.Unsafe<Static<T> | null>({
    ...(type === undefined ? {} : { type: [type, "null"] }),
    ...(known === undefined ? {} : { enum: [...known, null] }),
    ...rest,
    ...options,
  });
}

/**
 * A value of the named schema, which the serializer writes as it is: it would try each schema of a union on every
 * value.
 */
export function asIs(schema: TSchema) {
  const { title } = schema as { title?: string };
  return Type.Unsafe<unknown>({ title });
}

/**
 * One of these objects, distinguished by the value of the field `propertyName`, so that an error names the field of that
 * object and not one of every other.
 */
export function oneOf<T extends TSchema>(propertyName: string, objects: readonly T[], description?: string) {
  return Type.Unsafe<Static<T>>({
    type: "object",
    ...(description === undefined ? {} : { description }),
    required: [propertyName],
    discriminator: { propertyName },
    oneOf: objects,
  });
}

export function recordOf<T extends TSchema>(names: TSchema, values: T, options: { maxProperties: number }) {
  return Type.Unsafe<Record<string, Static<T>>>({
    type: "object",
    propertyNames: names,
    additionalProperties: values,
    ...options,
  });
}

/** Of the bodies and queries of requests: an unknown field is an error. */
export const closed = { additionalProperties: false } as const;

/** The keyword by which the server reads an id in the one spelling in which ids are stored. */
export const lowerCaseKeyword = "x-lower-case";

/** As PostgreSQL reads it: the format `uuid` of JSON Schema would let `urn:uuid:` pass. */
export const uuidPattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
export const uuid = Type.String({
  pattern: uuidPattern,
  description: "A UUID.",
  [lowerCaseKeyword]: true,
});

export const time = Type.String({ format: "date-time" });

/** The format of one line with at least one visible character. */
export const lineFormat = "line";
export const visibleFormat = "visible";

export function line(maxLength: number) {
  return Type.String({
    minLength: 1,
    maxLength,
    // In the dialect of regular expressions that all languages share; the format also knows Unicode's other blanks.
    pattern: "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
    format: lineFormat,
    description: "One line of text, not blank.",
  });
}

export const idempotencyKey = Type.String({
  pattern: "^[\\x20-\\x7e]{1,255}$",
  description:
    "1 to 255 printable ASCII characters, kept 24 h. The same key with the same body returns the same response, with the " +
    "header `idempotent-replayed: true`. The same key with another body gets 409 `IDEMPOTENCY_CONFLICT`; while the first request is still in progress, it gets " +
    "409 `CONFLICT`. The hub remembers success and errors of the request itself (400, 409, 413, 415, 422). It does not remember " +
    "401, 403, 404, 429, 5xx and responses with `retry-after`: send the same key again.",
});

export const ErrorBody = named(
  "ErrorBody",
  Type.Object({
    success: Type.Literal(false),
    error: Type.Object({
      code: Type.String(),
      message: Type.String(),
      details: Type.Record(Type.String(), Type.Unknown()),
      request_id: Type.String(),
    }),
  }),
);

/** As the hub writes it, in characters that need no escaping in a URL. */
const pageCursor = Type.String({
  maxLength: 500,
  pattern: "^[A-Za-z0-9_-]+$",
  description:
    "The `next_cursor` of the previous page, with the same filters and order (400 with others). Without it you get the first page.",
});

export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 200,
      default: 50,
      description: "A page may hold fewer items: it ends at about 1 MiB.",
    }),
  ),
  cursor: Type.Optional(pageCursor),
};

export const maxSearchLength = 200;

/** A page of named items: `ContactPage` of `Contact`. */
export function pageOf<T extends TSchema>(item: T) {
  const { title } = item as { title?: string };
  return named(`${title}Page`, Type.Object({ data: Type.Array(item), next_cursor: nullable(Type.String()) }));
}
