import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../errors.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import { maxAskedMs, retryDelayMs, retryDelaysMs } from "./schedule.ts";
import { newWebhookSecret, openWebhookSecret, requireWebhookSecret, sealWebhookSecret } from "./secrets.ts";

test("the schedule is that of Standard Webhooks, a tenth more or less", () => {
  const hours = [0, 5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24];
  assert.deepEqual(
    retryDelaysMs,
    hours.map((hour) => Math.round(hour * 3_600_000)),
  );
  for (const [tries, planned] of retryDelaysMs.entries()) {
    if (tries === 0) continue;
    assert.equal(
      retryDelayMs(tries, null, () => 0),
      Math.round(planned * 0.9),
    );
    assert.equal(
      retryDelayMs(tries, null, () => 0.5),
      planned,
    );
    assert.ok(retryDelayMs(tries, null, () => 0.999_999)! <= planned * 1.1);
  }
  assert.equal(retryDelayMs(10, null, Math.random), null, "the tenth attempt is the last");
  assert.equal(retryDelayMs(10, 1_000, Math.random), null, "for any delay asked for");
});

test("a delay that an endpoint asks for counts when it is longer than the schedule's, up to a day", () => {
  assert.equal(
    retryDelayMs(1, 60_000, () => 0.5),
    60_000,
  );
  assert.equal(
    retryDelayMs(2, 60_000, () => 0.5),
    300_000,
  );
  assert.equal(
    retryDelayMs(1, 10 * maxAskedMs, () => 0.5),
    maxAskedMs,
  );
});

test("secrets follow the standard, and are sealed for their endpoint", () => {
  const made = newWebhookSecret();
  assert.equal(requireWebhookSecret(made), made);
  for (const size of [24, 64]) requireWebhookSecret(`whsec_${Buffer.alloc(size, 1).toString("base64")}`);
  const wrong = [
    "",
    "whsec_",
    made.slice(6),
    `whsec_${Buffer.alloc(23, 1).toString("base64")}`,
    `whsec_${Buffer.alloc(65, 1).toString("base64")}`,
    `whsec_${Buffer.alloc(32, 0xff).toString("base64url")}`,
    `${made} `,
    `whsec_ ${made.slice(6)}`,
    made.replace(/=+$/, ""),
    `WHSEC_${made.slice(6)}`,
    `whpk_${made.slice(6)}`,
  ];
  for (const secret of wrong) {
    assert.throws(
      () => requireWebhookSecret(secret),
      (error: unknown) => error instanceof RequestError && !(secret.length > 12 && error.message.includes(secret)),
      JSON.stringify(secret),
    );
  }
  const box = openSecretBox(Buffer.alloc(32, 1));
  const sealed = sealWebhookSecret(box, "a", made);
  assert.equal(openWebhookSecret(box, "a", sealed), made);
  assert.throws(() => openWebhookSecret(box, "b", sealed));
});
