import { createHmac, randomBytes } from "node:crypto";
import { invalid } from "../errors.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";

/** Source: Standard Webhooks 1.0, "Signature scheme". */
const prefix = "whsec_";
const madeBytes = 32;
const leastBytes = 24;
const mostBytes = 64;

export function newWebhookSecret(): string {
  return prefix + randomBytes(madeBytes).toString("base64");
}

/** VALIDATION_ERROR, without the text, for what is not a secret of the standard. */
export function requireWebhookSecret(secret: string): string {
  const encoded = secret.startsWith(prefix) ? secret.slice(prefix.length) : "";
  const bytes = Buffer.from(encoded, "base64");
  // The decoder skips characters that are not base64.
  const isCanonical = encoded !== "" && bytes.toString("base64") === encoded;
  if (isCanonical && bytes.length >= leastBytes && bytes.length <= mostBytes) return secret;
  throw invalid(`secret must be ${prefix} followed by the base64 of ${leastBytes} to ${mostBytes} random bytes.`, {
    field: "secret",
  });
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

interface Signed {
  webhookId: string;
  atMs: number;
  body: string;
}

/**
 * The headers by which a receiver verifies the sender, with one signature for each secret: two during a rotation.
 * The library of the standard has a SHA-256 in JavaScript, which takes 100 times as long.
 */
export function signatureHeaders(secrets: readonly string[], { webhookId, atMs, body }: Signed) {
  const timestamp = String(Math.floor(atMs / 1000));
  const sign = (secret: string) =>
    createHmac("sha256", keyOf(secret)).update(`${webhookId}.${timestamp}.`).update(body).digest("base64");
  return {
    "webhook-id": webhookId,
    "webhook-timestamp": timestamp,
    "webhook-signature": secrets.map((secret) => `v1,${sign(secret)}`).join(" "),
  };
}

function keyOf(secret: string): Buffer {
  return Buffer.from(secret.slice(prefix.length), "base64");
}
