import type { FastifyRequest } from "fastify";
import { freeFormKeyword } from "../../../contract/src/free-form.ts";
import { invalid, type RequestError } from "../errors.ts";
import { checkJsonText, type JsonLimits, type JsonPath, UnreadableJson } from "../lib/json-text.ts";
import type { App } from "./app.ts";

/** Limits of every request's body: a batch of 1,000 messages may have 30 fields and elements in each. */
const bodyLimits: JsonLimits = { maxDepth: 32, maxFields: 1_000, maxValues: 30_000, isExact: true };

const largeBodyBytes = 64 * 1024;

/** Bodies are JSON. A content type without a body counts as no body. */
export function parseJsonBodies(app: App): void {
  app.removeContentTypeParser("text/plain");
  const parseJson = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, bytes, done) => {
    if (bytes.length === 0) return done(null, undefined);
    try {
      checkJsonBody(bytes, request.route.schema?.body);
    } catch (error) {
      return done(error as Error);
    }
    const body = bytes.toString();
    parseJson(request, body, (error, value) => {
      if (error !== null) done(explainBadJson(body));
      else if (bytes.length > largeBodyBytes) setImmediate(done, null, value);
      else done(null, value);
    });
  });
}

/**
 * Throws VALIDATION_ERROR for a body that would take too long to parse, or that JSON.parse would not keep exactly. In
 * free-form objects that includes numbers, which elsewhere are rounded and bounded by the schema.
 */
function checkJsonBody(body: Buffer, schema: unknown): void {
  try {
    checkJsonText(body, { ...bodyLimits, isExactAt: (path) => isFreeForm(schema as Schema | undefined, path) });
  } catch (error) {
    if (!(error instanceof UnreadableJson)) throw error;
    const { message, path } = error;
    throw path ? invalid(`${path} in the body ${message}.`, { field: path }) : invalid(`The body ${message}.`);
  }
}

interface Schema {
  [freeFormKeyword]?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
}

function isFreeForm(schema: Schema | undefined, [step, ...inside]: JsonPath): boolean {
  if (schema?.[freeFormKeyword] !== undefined) return true;
  if (schema === undefined || step === undefined) return false;
  return isFreeForm(typeof step === "number" ? schema.items : schema.properties?.[step], inside);
}

/**
 * Why a body was refused by Fastify's parser, which takes neither what is no JSON nor names by which an object could change
 * what all objects are: `__proto__`, and a `constructor` with a `prototype`.
 */
function explainBadJson(body: string): RequestError {
  let field = "constructor";
  try {
    JSON.parse(body, (name, value) => {
      if (name === "__proto__") field = name;
      return value;
    });
  } catch {
    return invalid("The body is not valid JSON.");
  }
  return invalid(`The body has an unknown field: ${field}.`, { field });
}

/** For routes whose body has no required field: no body counts as `{}`. */
export const optionalBody = {
  preValidation(request: FastifyRequest, _reply: unknown, done: () => void): void {
    request.body ??= {};
    done();
  },
};
