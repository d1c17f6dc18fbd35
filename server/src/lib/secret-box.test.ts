import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { keyId, openSecretBox, SecretBoxError } from "./secret-box.ts";

const key = randomBytes(32);

test("opens any sealed text in its context", () => {
  const box = openSecretBox(key);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string(), (plain, context) => {
      const wellFormed = plain.toWellFormed();
      assert.equal(box.open(box.seal(wellFormed, context), context), wellFormed);
    }),
    { numRuns: 200 },
  );
});

test("the same secret is never sealed to the same bytes, and does not show in them", () => {
  const box = openSecretBox(key);
  const sealed = box.seal("EAAG-canary", "a");
  assert.notDeepEqual(sealed, box.seal("EAAG-canary", "a"));
  assert.equal(sealed.includes("canary"), false);
});

test("an envelope moved to another row does not open", () => {
  const box = openSecretBox(key);
  assert.throws(() => box.open(box.seal("secret", "channel_accounts/1"), "channel_accounts/2"), /belongs elsewhere/);
});

test("no changed, shortened or lengthened envelope opens", () => {
  const box = openSecretBox(key);
  const sealed = box.seal("secret", "here");
  for (let i = 0; i < sealed.length; i++) {
    const changed = Buffer.from(sealed);
    changed[i]! ^= 1 << (i % 8);
    assert.throws(() => box.open(changed, "here"), SecretBoxError, `byte ${i}`);
    assert.throws(() => box.open(sealed.subarray(0, i), "here"), SecretBoxError, `cut at ${i}`);
  }
  assert.throws(() => box.open(Buffer.concat([sealed, Buffer.from([0])]), "here"), SecretBoxError);
});

test("a key that is not held is named in the error", () => {
  const sealed = openSecretBox(key).seal("secret", "here");
  assert.throws(() => openSecretBox(randomBytes(32)).open(sealed, "here"), new RegExp(`key ${keyId(key)}, not held`));
});

test("after a rotation the old envelopes still open, and new ones carry the new key", () => {
  const old = { id: "2026-01", key };
  const fresh = { id: "2026-07", key: randomBytes(32) };
  const rotated = openSecretBox([fresh, old]);
  assert.equal(rotated.open(openSecretBox([old]).seal("secret", "here"), "here"), "secret");
  assert.equal(openSecretBox([fresh]).open(rotated.seal("secret", "here"), "here"), "secret");
});

test("a key of the wrong length is refused at once", () => {
  assert.throws(() => openSecretBox(randomBytes(16)), /32 bytes long/);
  assert.throws(() => openSecretBox([]), /needs a key/);
});
