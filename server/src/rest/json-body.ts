import type { FastifyRequest } from "fastify";
import { invalid, type RequestError } from "../errors.ts";
import { checkJsonText, type JsonLimits, UnreadableJson } from "../lib/json-text.ts";

/** Limits of every request's body: a batch of 1,000 messages may have 30 fields and elements in each. */
const bodyLimits: JsonLimits = { maxDepth: 32, maxFields: 1_000, maxValues: 30_000, isExact: true };

/** Throws VALIDATION_ERROR for a body that would take too long to parse, or that JSON.parse would not keep exactly. */
export function checkJsonBody(body: Buffer): void {
  try {
    checkJsonText(body, bodyLimits);
  } catch (error) {
    if (!(error instanceof UnreadableJson)) throw error;
    const { message, path } = error;
    throw path ? invalid(`${path} in the body ${message}.`, { field: path }) : invalid(`The body ${message}.`);
  }
}

/**
 * Why a body was refused by Fastify's parser, which takes neither what is no JSON nor names by which an object could change
 * what all objects are: `__proto__`, and a `constructor` with a `prototype`.
 */
export function explainBadJson(body: string): RequestError {
  let field = "constructor";
  try {
    JSON.parse(body, (name, value) => {
      if (name === "__proto__") field = name;
      return value;
    });
  } catch {
    return invalid("The body is not valid JSON.");
  }
  return invalid(`The body has a field that is not known here: ${field}.`, { field });
}

/** For routes whose body has no required field: no body counts as `{}`. */
export const optionalBody = {
  preValidation(request: FastifyRequest, _reply: unknown, done: () => void): void {
    request.body ??= {};
    done();
  },
};
