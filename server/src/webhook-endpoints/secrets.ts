import { randomBytes } from "node:crypto";
import { invalid } from "../errors.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";

/** Source: Standard Webhooks 1.0, "Signature scheme". */
const prefix = "whsec_";
const madeBytes = 32;
/** The bounds of Standard Webhooks. */
const leastBytes = 24;
const mostBytes = 64;

export function newWebhookSecret(): string {
  return prefix + randomBytes(madeBytes).toString("base64");
}

/** VALIDATION_ERROR, without the text, for what is not a secret of the standard. */
export function requireWebhookSecret(secret: string): string {
  const encoded = secret.startsWith(prefix) ? secret.slice(prefix.length) : "";
  const bytes = Buffer.from(encoded, "base64");
  // The decoder skips what is not base64: encoding again finds out.
  const isCanonical = encoded !== "" && bytes.toString("base64") === encoded;
  if (isCanonical && bytes.length >= leastBytes && bytes.length <= mostBytes) return secret;
  throw invalid(`secret must be ${prefix} and the base64 of ${leastBytes} to ${mostBytes} random bytes.`, {
    field: "secret",
  });
}

export function webhookKey(secret: string): Buffer {
  return Buffer.from(secret.slice(prefix.length), "base64");
}

export function sealWebhookSecret(box: SecretBox, endpointId: string, secret: string): Buffer {
  return box.seal(secret, contextOf(endpointId));
}

export function openWebhookSecret(box: SecretBox, endpointId: string, sealed: Buffer): string {
  return box.open(sealed, contextOf(endpointId));
}

/** An envelope that is copied to another row does not open there. */
function contextOf(endpointId: string): string {
  return `webhook_endpoints/${endpointId}`;
}

export const sealedWebhookSecrets: SealedColumn[] = ["secret_sealed", "old_secret_sealed"].map((column) => ({
  table: "webhook_endpoints",
  column,
  key: ["webhook_endpoint_id"],
  contextOf,
}));
