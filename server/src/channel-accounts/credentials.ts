import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { Connector } from "../connectors/connector.ts";
import { invalid } from "../errors.ts";

// Compiling the meta-schema would take ten times as long as the schema.
const ajv = new Ajv({ strict: false, validateSchema: false });
const validators = new WeakMap<Connector, ValidateFunction>();

/** Throws VALIDATION_ERROR that names the field and never repeats its value. */
export function requireCredentials(connector: Connector, credentials: unknown): void {
  const validate = validators.get(connector) ?? ajv.compile(connector.credentials);
  validators.set(connector, validate);
  if (validate(credentials)) return;
  const { field, problem } = describe(validate.errors![0]!);
  const fields = Object.keys(connector.credentials.properties).join(", ");
  throw invalid(`${field} ${problem} The credentials of ${connector.channel} are: ${fields}.`, { field });
}

function describe(error: ErrorObject): { field: string; problem: string } {
  const path = `credentials${error.instancePath.replaceAll("/", ".")}`;
  if (error.keyword === "additionalProperties") {
    return { field: `${path}.${error.params.additionalProperty}`, problem: "is not known." };
  }
  if (error.keyword === "required") return { field: `${path}.${error.params.missingProperty}`, problem: "is missing." };
  return { field: path, problem: `${error.message ?? "is not valid"}.` };
}
