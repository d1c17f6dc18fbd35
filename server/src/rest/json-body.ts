import { invalid, type RequestError } from "../errors.ts";

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
