import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { ChannelAccountSettings, Connector } from "../connectors/connector.ts";
import { invalid } from "../errors.ts";
import { urlProblem } from "../lib/outbound-url.ts";

/** Which private IP addresses a `base_url` may name: the same as the HTTP client's. */
export interface BaseUrlRules {
  readonly allowPrivate: boolean;
  readonly allowedOrigins: readonly string[];
}

/**
 * Throws VALIDATION_ERROR for a `base_url` that is not a plain http(s) URL. Credentials are sent there: its port
 * must be one that webhook endpoints may use, and where private IP addresses are not allowed it must be https and public.
 * A public name that resolves to a private IP address is refused when connecting.
 */
export function requireSettings(settings: ChannelAccountSettings, rules: BaseUrlRules): ChannelAccountSettings {
  if (settings.base_url !== undefined) requireBaseUrl(settings.base_url, rules);
  return settings;
}

function requireBaseUrl(baseUrl: string, rules: BaseUrlRules): void {
  const field = "settings.base_url";
  const url = URL.parse(baseUrl);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw invalid(`${field} must be an http or https URL, such as https://graph.facebook.com.`, { field });
  }
  if (url.username || url.password || baseUrl.includes("?") || baseUrl.includes("#")) {
    throw invalid(`${field} must have no user, password, query or fragment.`, { field });
  }
  const plain = url.href.replace(/\/+$/, "");
  if (baseUrl !== plain) throw invalid(`${field} must be written as ${plain}.`, { field });
  if (rules.allowedOrigins.includes(url.origin)) return;
  const problem = urlProblem(baseUrl, rules.allowPrivate);
  if (problem !== null) throw invalid(`${field} ${problem}`, { field });
}

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
