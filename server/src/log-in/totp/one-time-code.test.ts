import assert from "node:assert/strict";
import { test } from "node:test";
import { codeOf, matchingStep, newTotpSecret, otpauthUrl, stepAt, toBase32 } from "./one-time-code.ts";

const secret = Buffer.from("12345678901234567890");

// RFC 6238, appendix B, SHA-1, whose codes have eight digits: ours are their last six.
for (const [seconds, code] of [
  [59, "94287082"],
  [1111111109, "07081804"],
  [1111111111, "14050471"],
  [1234567890, "89005924"],
  [2000000000, "69279037"],
  [20000000000, "65353130"],
] as const) {
  test(`at ${seconds} s the code is that of RFC 6238`, () => {
    assert.equal(codeOf(secret, stepAt(seconds * 1000)), code.slice(2));
  });
}

test("a code is valid in its own step and one before or after, until its step is used", () => {
  const nowMs = 1_700_000_000_000;
  const now = stepAt(nowMs);
  for (const step of [now - 1, now, now + 1]) assert.equal(matchingStep(secret, codeOf(secret, step), nowMs, 0), step);
  for (const step of [now - 2, now + 2]) assert.equal(matchingStep(secret, codeOf(secret, step), nowMs, 0), null);
  assert.equal(matchingStep(secret, codeOf(secret, now), nowMs, now), null);
  assert.equal(matchingStep(secret, codeOf(secret, now + 1), nowMs, now), now + 1);
  assert.equal(matchingStep(secret, "", nowMs, 0), null);
});

test("a secret is written in base32, as authenticator apps read it", () => {
  assert.equal(toBase32(Buffer.from("fooba")), "MZXW6YTB");
  const url = new URL(otpauthUrl(secret, "ana lima"));
  assert.equal(url.href.split("?")[0], "otpauth://totp/Chat4All:ana%20lima");
  assert.deepEqual(Object.fromEntries(url.searchParams), {
    secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    issuer: "Chat4All",
    algorithm: "SHA1",
    digits: "6",
    period: "30",
  });
  assert.equal(toBase32(newTotpSecret()).length, 32);
});
