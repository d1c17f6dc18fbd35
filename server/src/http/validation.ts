import { Ajv, type ErrorObject } from "ajv";
import type { DataValidationCxt } from "ajv/dist/types/index.js";
import addFormats from "ajv-formats";
import type { FastifySchemaCompiler } from "fastify";
import type { Static, TSchema } from "typebox";
import { cursorPattern } from "../../../contract/src/events.ts";
import { checksumPattern, contentTypePattern, sha256Pattern } from "../../../contract/src/files.ts";
import { type FreeFormLimits, freeFormKeyword } from "../../../contract/src/free-form.ts";
import { addressPattern, channelPattern } from "../../../contract/src/people.ts";
import { lineFormat, lowerCaseKeyword, uuidPattern, visibleFormat } from "../../../contract/src/schemas.ts";
import { languagePattern, modelPattern } from "../../../contract/src/tasks.ts";
import { usernamePattern } from "../../../contract/src/users.ts";
import { RequestError } from "../errors.ts";
import { findExcess } from "../lib/free-form.ts";
import { isPlainName, isVisible } from "../lib/names.ts";

// Bodies are not converted; path, query and headers are texts, from which numbers and booleans are read.
// Schemas are validated only where all are compiled at once: compiling the meta-schema costs more than a route.
const common = { useDefaults: true, strict: false, verbose: true, validateSchema: false };
const strict = new Ajv({ ...common, discriminator: true, inlineRefs: false });
const reading = new Ajv({ ...common, coerceTypes: true });
for (const ajv of [strict, reading]) {
  addFormats.default(ajv);
  const { validate } = ajv.formats["date-time"] as { validate: (text: string) => boolean };
  ajv.addFormat("date-time", (text) => validate(text) && isMoment(text));
  ajv.addFormat(lineFormat, (text) => isVisible(text) && isPlainName(text));
  ajv.addFormat(visibleFormat, isVisible);
  ajv.addKeyword({ keyword: lowerCaseKeyword, type: "string", modifying: true, validate: lowerCase });
  ajv.addKeyword({ keyword: freeFormKeyword, type: "object", errors: true, validate: checkFreeForm });
}

function lowerCase(_is: true, text: string, _schema?: unknown, place?: DataValidationCxt): boolean {
  if (place !== undefined) place.parentData[place.parentDataProperty] = text.toLowerCase();
  return true;
}

function checkFreeForm(limits: FreeFormLimits, value: object): boolean {
  const message = findExcess(value, limits);
  checkFreeForm.errors = message === null ? [] : [{ keyword: freeFormKeyword, message, params: {} }];
  return message === null;
}
checkFreeForm.errors = [] as Partial<ErrorObject>[];

/** RFC 3339 also allows leap seconds and times beyond the year 9999 in UTC, which we cannot write. */
function isMoment(text: string): boolean {
  const ms = Date.parse(text);
  return ms >= firstMoment && ms <= lastMoment;
}

const firstMoment = Date.parse("0001-01-01T00:00:00Z");
/** Unix milliseconds. */
export const lastMoment = Date.parse("9999-12-31T23:59:59.999Z");

export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  strict.validateSchema(schema, true);
  return compile(schema, httpPart);
};

interface Validate {
  (value: unknown): boolean;
  errors?: ErrorObject[] | null;
}

/** Compiles a schema. The functions before the last compile what it refers to, which keeps each short. */
function stepsOf(schema: TSchema, httpPart: string | undefined): [...(() => unknown)[], () => Validate] {
  if (httpPart !== "body") return [() => withDecimals(schema, reading.compile(schema) as Validate)];
  const { schema: body, unions } = splitBody(schema);
  return [...unions.map((id) => () => strict.getSchema(id)), () => strict.compile(body) as Validate];
}

function compile(schema: TSchema, httpPart: string | undefined): Validate {
  return stepsOf(schema, httpPart)
    .map((step) => step())
    .at(-1) as Validate;
}

interface SplitBody {
  schema: TSchema;
  unions: readonly string[];
}

const splitBodies = new WeakMap<TSchema, SplitBody>();
const unionIds = new WeakMap<object, string>();
let lastUnion = 0;

/** The schema with references to its unions, which take longest and are compiled once for all bodies that have them. */
function splitBody(schema: TSchema): SplitBody {
  const known = splitBodies.get(schema);
  if (known !== undefined) return known;
  const unions: string[] = [];
  const { properties = {} } = schema as { properties?: Record<string, TSchema> };
  const refer = ([name, property]: [string, TSchema]): [string, TSchema] => {
    if (!("oneOf" in property)) return [name, property];
    const id = unionIds.get(property) ?? `union-${++lastUnion}`;
    if (!unionIds.has(property)) strict.addSchema(property, id);
    unionIds.set(property, id);
    unions.push(id);
    return [name, { $ref: id }];
  };
  const referring = Object.fromEntries(Object.entries(properties).map(refer));
  const split = { schema: unions.length === 0 ? schema : { ...schema, properties: referring }, unions };
  splitBodies.set(schema, split);
  return split;
}

/** Ajv reads numbers as JavaScript does: `0x10`, `1e1`, blanks. */
const decimal = /^-?\d{1,16}(\.\d{1,15})?$/;

function withDecimals(schema: TSchema, isValid: Validate): Validate {
  const { properties = {} } = schema as { properties?: Record<string, { type?: string }> };
  const isNumber = (name: string) => ["integer", "number"].includes(properties[name]!.type ?? "");
  const numbers = Object.keys(properties).filter(isNumber);
  if (numbers.length === 0) return isValid;
  const validate: Validate = (value) => {
    const given = value as Record<string, unknown>;
    const wrong = numbers.find((name) => typeof given[name] === "string" && !decimal.test(given[name]));
    const isRight = wrong === undefined && isValid(value);
    validate.errors = wrong === undefined ? (isValid.errors ?? null) : [notDecimal(wrong)];
    return isRight;
  };
  return validate;
}

function notDecimal(name: string): ErrorObject {
  const message = "must be a number in digits";
  return { instancePath: `/${name}`, keyword: "type", message, params: {}, schemaPath: "" };
}

export function compileValidatorLazily({ schema, httpPart }: Parameters<FastifySchemaCompiler<TSchema>>[0]) {
  let compiled: Validate | undefined;
  const validate: Validate = (value) => {
    compiled ??= compile(schema, httpPart);
    const isValid = compiled(value);
    validate.errors = compiled.errors ?? null;
    return isValid;
  };
  const [...steps] = stepsOf(schema, httpPart);
  const last = steps.pop() as () => Validate;
  const finish = () => {
    compiled ??= last();
  };
  return { validate, compile: [...steps, finish] };
}

/** A check to be made by hand, where one value of a body must not fail the others. Throws VALIDATION_ERROR. */
export function compileCheck<Schema extends TSchema>(schema: Schema, part: string): (value: unknown) => Static<Schema> {
  let isValid: Validate | undefined;
  return (value) => {
    isValid ??= compile(schema, "body");
    if (isValid(value)) return value as Static<Schema>;
    throw violation(isValid.errors![0]!, part);
  };
}

export function violation(error: ErrorObject, part: string): RequestError {
  const { message, field } = describeViolation(error, part);
  return new RequestError("VALIDATION_ERROR", message, { details: { field } });
}

function describeViolation(error: ErrorObject, part: string): { message: string; field: string } {
  const path = error.instancePath.slice(1).replaceAll("/", ".");
  const inside = (name: string) => (path ? `${path}.${name}` : name);
  switch (error.keyword) {
    case "additionalProperties": {
      const field = inside(String(error.params.additionalProperty));
      return { field, message: `The ${part} has an unknown field: ${field}.` };
    }
    case "required": {
      const field = inside(String(error.params.missingProperty));
      return { field, message: `The ${part} needs the field ${field}.` };
    }
    case "enum":
      return {
        field: path,
        message: `${subject(path, part)} must be one of: ${error.params.allowedValues.join(", ")}.`,
      };
    case "const":
      return { field: path, message: `${subject(path, part)} must be ${JSON.stringify(error.params.allowedValue)}.` };
    case "discriminator":
      return { field: inside("type"), message: `${subject(inside("type"), part)} must be one of the known types.` };
    case "format":
    case "pattern": {
      const form: string = error.params.pattern ?? error.params.format;
      return { field: path, message: `${subject(path, part)} must be ${wantedForm(form) ?? `of the form ${form}`}.` };
    }
    default: {
      const name = error.propertyName === undefined ? "" : "A name in ";
      return { field: path, message: `${name}${subject(path, part)} ${error.message ?? "is not valid"}.` };
    }
  }
}

function subject(path: string, part: string): string {
  return path ? `${path} in the ${part}` : `The ${part}`;
}

/** What a text must be, by the format or the pattern of its schema, to complete "… must be". */
const forms = new Map<string, string>([
  ["date-time", "a date and time such as 2026-11-20T12:00:00Z"],
  ["email", "an email address such as ana@example.com"],
  [lineFormat, "one line of text that is not blank"],
  [visibleFormat, "a text with at least one visible character"],
  ["^[^\\x00-\\x1f\\x7f-\\x9f]+$", "one line of text that is not blank"],
  [uuidPattern, "a UUID"],
  [addressPattern, "an address, written channel:identifier"],
  [usernamePattern, "3 to 50 of a–z, 0–9, dot, dash and underscore, beginning with a letter or digit"],
  [channelPattern, "the name of a channel, in lower-case letters"],
  ["^[A-Za-z0-9_-]+$", "a next_cursor of this list"],
  [cursorPattern, "a cursor of the feed, from HELLO, an event or GET /v1/events"],
  ["^[\\x20-\\x7e]{1,255}$", "1 to 255 printable ASCII characters"],
  [contentTypePattern, "a media type such as image/png, without parameters"],
  [checksumPattern, "a SHA-256 in 64 lower-case hexadecimal digits"],
  [sha256Pattern, "a SHA-256 in 64 lower-case hexadecimal digits"],
  [languagePattern, "a language such as pt or pt-BR"],
  [modelPattern, "the name of a model, in letters, digits and ./:@_-"],
  ["binary", "the bytes of a file"],
  ["^[0-9]{6}$", "six digits"],
  ["^[a-z0-9_]{1,50}$", "the name of a login provider"],
  ["^v\\d{1,3}\\.\\d{1,3}$", "a version such as v23.0"],
]);

export function wantedForm(formatOrPattern: string): string | null {
  return forms.get(formatOrPattern) ?? null;
}
