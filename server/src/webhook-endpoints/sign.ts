import { createHmac } from "node:crypto";
import { webhookKey } from "./secrets.ts";

export interface Signed {
  /** The same in every attempt. */
  webhookId: string;
  /** Of the attempt, in milliseconds. */
  atMs: number;
  body: string;
}

/**
 * The headers by which a receiver verifies the sender, with one signature for each secret: two during a rotation.
 * Source: Standard Webhooks 1.0, "Signature scheme". The library's SHA-256 is written in JavaScript and takes 100 times
 * as long.
 */
export function signatureHeaders(secrets: readonly string[], { webhookId, atMs, body }: Signed) {
  const timestamp = String(Math.floor(atMs / 1000));
  const sign = (secret: string) =>
    createHmac("sha256", webhookKey(secret)).update(`${webhookId}.${timestamp}.`).update(body).digest("base64");
  return {
    "webhook-id": webhookId,
    "webhook-timestamp": timestamp,
    "webhook-signature": secrets.map((secret) => `v1,${sign(secret)}`).join(" "),
  };
}
