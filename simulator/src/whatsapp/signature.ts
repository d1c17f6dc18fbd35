import { createHmac } from "node:crypto";

/**
 * JSON as the platform sends and signs it: ASCII only, every other UTF-16 unit as `\uXXXX` in lower-case hex, and `/`
 * as `\/`. Source: Graph API, webhooks, payload signatures.
 */
export function asciiJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value).replace(/[/\u0080-\uffff]/g, escapeUnit), "latin1");
}

/** Both signature headers over the exact bytes of a body. */
export function signatureHeaders(body: Buffer, appSecret: string): Record<string, string> {
  return {
    "x-hub-signature-256": `sha256=${createHmac("sha256", appSecret).update(body).digest("hex")}`,
    "x-hub-signature": `sha1=${createHmac("sha1", appSecret).update(body).digest("hex")}`,
  };
}

function escapeUnit(unit: string): string {
  return unit === "/" ? "\\/" : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
