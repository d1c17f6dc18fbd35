import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Secret } from "../secret.ts";

/**
 * URLs that are a credential for one request: `<base>/<key>?<parameters>&expires=<seconds>&signature=<HMAC>`. The
 * signature covers the method, the key, and all parameters in their order, so none can be changed, added or left out.
 */
export interface UrlSigner {
  sign(request: { method: "GET" | "PUT"; key: string; parameters: Record<string, string>; expiresAt: Date }): string;
  /** Null when the signature is not of this method, key and query, or has expired. */
  verify(request: { method: string; key: string; query: URLSearchParams; nowMs: number }): Map<string, string> | null;
}

/** `secrets`: newest first. The first one signs; URLs that another one signed stay valid. */
export function openUrlSigner(baseUrl: string, secrets: readonly Secret[]): UrlSigner {
  if (secrets.length === 0) throw new TypeError("There is no secret to sign URLs with.");
  const keys = secrets.map((secret) => Buffer.from(hkdfSync("sha256", secret.reveal(), "", "object URLs", 32)));
  return {
    sign({ method, key, parameters, expiresAt }) {
      const expires = String(Math.ceil(expiresAt.getTime() / 1000));
      const query = new URLSearchParams({ ...parameters, expires });
      query.append("signature", signatureOf(keys[0]!, method, key, [...query]).toString("base64url"));
      return `${baseUrl}/${key}?${query}`;
    },
    verify({ method, key, query, nowMs }) {
      const entries = [...query];
      const [name, signature] = entries.pop() ?? [];
      if (name !== "signature" || signature === undefined) return null;
      const given = Buffer.from(signature, "base64url");
      // The decoder ignores what is no base64, and the last bits.
      if (given.toString("base64url") !== signature) return null;
      const isSigned = keys.some((each) => {
        const expected = signatureOf(each, method, key, entries);
        return given.length === expected.length && timingSafeEqual(given, expected);
      });
      const parameters = new Map(entries);
      return isSigned && Number(parameters.get("expires")) * 1000 > nowMs ? parameters : null;
    },
  };
}

function signatureOf(key: Buffer, method: string, objectKey: string, entries: readonly [string, string][]): Buffer {
  return createHmac("sha256", key)
    .update(JSON.stringify([method, objectKey, entries]))
    .digest();
}
