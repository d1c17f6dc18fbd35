import { Webhook } from "standardwebhooks";

export interface Signed {
  /** The same in every attempt. */
  webhookId: string;
  /** Of the attempt, in milliseconds. */
  atMs: number;
  body: string;
}

/** The headers by which a receiver knows who sends. One signature for each secret: during a rotation there are two. */
export function signatureHeaders(secrets: readonly string[], { webhookId, atMs, body }: Signed) {
  const at = new Date(atMs);
  return {
    "webhook-id": webhookId,
    "webhook-timestamp": String(Math.floor(atMs / 1000)),
    "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(webhookId, at, body)).join(" "),
  };
}
