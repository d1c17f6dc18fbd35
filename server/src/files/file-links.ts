import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Clock } from "../lib/clock.ts";
import { formatUuid } from "../lib/ids.ts";
import type { Secret } from "../lib/secret.ts";

/**
 * Links to the page of a file, for people without an account: `<page>/<token>`. The token is the only credential, names
 * the file, and expires; what was deleted is not shown.
 */
export interface FileLinks {
  link(file: FileOfLink): string;
  /** `missing`: no token of this hub. */
  open(token: string): (FileOfLink & { kind: "open"; expiresAt: Date }) | { kind: "expired" } | { kind: "missing" };
}

interface FileOfLink {
  workspaceId: string;
  fileId: string;
}

/** Bytes: two ids, the time in seconds, and the half of an HMAC-SHA256. */
const idsEnd = 32;
const timeEnd = 38;
const tokenEnd = 54;

/** `secrets`: newest first. The first one signs; links that another one signed stay valid. */
export function openFileLinks(options: {
  pageUrl: string;
  secrets: readonly Secret[];
  ttlMs: number;
  clock: Clock;
}): FileLinks {
  const { pageUrl, secrets, ttlMs, clock } = options;
  const keys = secrets.map((secret) => Buffer.from(hkdfSync("sha256", secret.reveal(), "", "file links", 32)));
  const mac = (key: Buffer, signed: Buffer) =>
    createHmac("sha256", key)
      .update(signed)
      .digest()
      .subarray(0, tokenEnd - timeEnd);
  return {
    link({ workspaceId, fileId }) {
      const signed = Buffer.alloc(timeEnd);
      signed.write(workspaceId.replaceAll("-", "") + fileId.replaceAll("-", ""), "hex");
      signed.writeUIntBE(Math.ceil((clock.now() + ttlMs) / 1000), idsEnd, timeEnd - idsEnd);
      return `${pageUrl}/${Buffer.concat([signed, mac(keys[0]!, signed)]).toString("base64url")}`;
    },
    open(token) {
      const bytes = Buffer.from(token, "base64url");
      if (bytes.length !== tokenEnd || bytes.toString("base64url") !== token) return { kind: "missing" };
      const signed = bytes.subarray(0, timeEnd);
      if (!keys.some((key) => timingSafeEqual(mac(key, signed), bytes.subarray(timeEnd)))) return { kind: "missing" };
      const expiresAt = new Date(signed.readUIntBE(idsEnd, timeEnd - idsEnd) * 1000);
      if (expiresAt.getTime() <= clock.now()) return { kind: "expired" };
      return { kind: "open", workspaceId: formatUuid(signed, 0), fileId: formatUuid(signed, idsEnd / 2), expiresAt };
    },
  };
}
