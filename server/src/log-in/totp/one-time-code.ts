import { createHmac, randomBytes } from "node:crypto";

/** How long a code is shown. Source: RFC 6238, section 5.2; apps support no other reliably. */
const stepSeconds = 30;
const digits = 6;
/** RFC 4226, section 4, R6 recommends 160 bits. */
const secretBytes = 20;
/** How many steps a clock may be ahead or behind. */
const tolerance = 1;

export function newTotpSecret(): Buffer {
  return randomBytes(secretBytes);
}

export function stepAt(nowMs: number): number {
  return Math.floor(nowMs / 1000 / stepSeconds);
}

/** HMAC-SHA-1, dynamic truncation, six digits. Source: RFC 4226, section 5.3. */
export function codeOf(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", secret).update(counter).digest();
  const offset = mac[mac.length - 1]! & 0x0f;
  const number = (mac.readUInt32BE(offset) & 0x7fffffff) % 10 ** digits;
  return String(number).padStart(digits, "0");
}

/** The step with this code, within the tolerance and after `lastStep`; null for a wrong code. */
export function matchingStep(secret: Buffer, code: string, nowMs: number, lastStep: number): number | null {
  let found: number | null = null;
  for (let step = stepAt(nowMs) - tolerance; step <= stepAt(nowMs) + tolerance; step += 1) {
    if (step > lastStep && codeOf(secret, step) === code) found = step;
  }
  return found;
}

/** For the QR code of authenticator apps. Source: the Key URI Format of Google Authenticator. */
export function otpauthUrl(secret: Buffer, account: string): string {
  const parameters = new URLSearchParams({ secret: toBase32(secret), issuer, algorithm: "SHA1" });
  parameters.set("digits", String(digits));
  parameters.set("period", String(stepSeconds));
  return `otpauth://totp/${encodeURIComponent(issuer)}:${encodeURIComponent(account)}?${parameters}`;
}

const issuer = "Chat4All";
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** Base32 without padding, for bytes whose bits are a multiple of 5. Source: RFC 4648, section 6. */
export function toBase32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)]).join("");
}
