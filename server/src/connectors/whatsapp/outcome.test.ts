import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpAnswer } from "../../lib/http.ts";
import type { SendOutcome } from "../connector.ts";
import { parseObject } from "../json.ts";
import { outcomeOf } from "../meta/outcome.ts";
import { sendRules } from "./send.ts";

const nowMs = Date.parse("2026-11-20T12:00:00Z");

function outcome(status: number, body: unknown, headers: HttpAnswer["headers"] = {}): SendOutcome {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const exchange = (answer: unknown) => ({ request: { method: "POST", url: "" }, answer }) as SendOutcome["exchange"];
  const answer = { status, headers, body: text, json: parseObject(text) };
  return outcomeOf(answer, nowMs, exchange as never, (text) => text.replaceAll("secret", "[hidden]"), sendRules);
}

const error = (code: number, more: object = {}) => ({
  error: { message: `(#${code})`, type: "OAuthException", code, ...more },
});

test("the code of an error decides, for any status and message", () => {
  const cases: [code: number, expected: object][] = [
    [0, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [190, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [10, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [200, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [299, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [131005, { kind: "account_refused", reason: "CREDENTIALS_INVALID" }],
    [131031, { kind: "account_refused", reason: "ACCOUNT_RESTRICTED" }],
    [131042, { kind: "account_refused", reason: "ACCOUNT_RESTRICTED" }],
    [1, { kind: "retry", scope: "lane", platformFault: true }],
    [2, { kind: "retry", scope: "lane", platformFault: true }],
    [131000, { kind: "retry", scope: "lane", platformFault: true }],
    [131016, { kind: "retry", scope: "lane", platformFault: true }],
    [131057, { kind: "retry", scope: "account", platformFault: true }],
    [4, { kind: "retry", scope: "account", platformFault: false }],
    [80007, { kind: "retry", scope: "account", platformFault: false }],
    [130429, { kind: "retry", scope: "account", platformFault: false }],
    [131048, { kind: "retry", scope: "account", platformFault: false }],
    [131056, { kind: "retry", scope: "lane", platformFault: false, afterMs: 6_000 }],
    [131026, { kind: "refused", reason: "RECIPIENT_UNREACHABLE" }],
    [131047, { kind: "refused", reason: "WINDOW_CLOSED" }],
    [131050, { kind: "refused", reason: "RECIPIENT_BLOCKED" }],
    [131021, { kind: "refused", reason: "INVALID_RECIPIENT" }],
    [131009, { kind: "refused", reason: "PAYLOAD_INVALID" }],
    [131051, { kind: "refused", reason: "PAYLOAD_NOT_SUPPORTED" }],
    [132001, { kind: "refused", reason: "TEMPLATE_INVALID" }],
    [132015, { kind: "refused", reason: "TEMPLATE_INVALID" }],
  ];
  for (const [code, expected] of cases) {
    for (const status of [400, 403, 429, 500]) {
      const got = outcome(status, error(code, { message: "rate limit hit, token expired" }));
      assert.partialDeepStrictEqual(got, expected, `${code} with ${status}`);
    }
  }
});

test("an unknown number is a fault of the account, another bad parameter one of the message", () => {
  const unknownNumber = outcome(400, error(100, { error_subcode: 33 }));
  assert.partialDeepStrictEqual(unknownNumber, { kind: "account_refused", reason: "CREDENTIALS_INVALID" });
  assert.partialDeepStrictEqual(outcome(400, error(100)), { kind: "refused", reason: "PAYLOAD_INVALID" });
});

test("an unlisted error is judged by its status, and by whether it is transient", () => {
  assert.partialDeepStrictEqual(outcome(400, error(999999)), { kind: "refused", reason: "PLATFORM_REFUSED" });
  assert.partialDeepStrictEqual(outcome(401, error(999999)), { kind: "account_refused" });
  assert.partialDeepStrictEqual(outcome(500, error(999999)), { kind: "retry", platformFault: true });
  assert.partialDeepStrictEqual(outcome(400, error(999999, { is_transient: true })), { kind: "retry" });
  assert.partialDeepStrictEqual(outcome(429, error(999999)), { kind: "retry", scope: "account", platformFault: false });
});

test("the longest wait that the platform asks for is kept", () => {
  const afterMs = (code: number, headers: HttpAnswer["headers"]) => {
    const got = outcome(400, error(code), headers);
    return got.kind === "retry" ? got.afterMs : undefined;
  };
  const usage = (minutes: unknown) =>
    JSON.stringify({ "419": [{ type: "whatsapp", estimated_time_to_regain_access: minutes }, {}, null] });
  assert.equal(afterMs(130429, {}), null);
  assert.equal(afterMs(130429, { "retry-after": "12" }), 12_000);
  assert.equal(afterMs(130429, { "retry-after": "Fri, 20 Nov 2026 12:00:30 GMT" }), 30_000);
  assert.equal(afterMs(130429, { "retry-after": "soon" }), null);
  assert.equal(afterMs(131056, { "retry-after": "1" }), 6_000);
  assert.equal(afterMs(80007, { "x-business-use-case-usage": usage(7) }), 420_000);
  assert.equal(afterMs(80007, { "x-business-use-case-usage": usage(0) }), null);
  assert.equal(afterMs(80007, { "x-business-use-case-usage": usage(1e9) }), 86_400_000);
  for (const strange of ["", "{", "[]", "{}", usage("x"), '{"a":1}']) {
    assert.equal(afterMs(80007, { "x-business-use-case-usage": strange }), null);
  }
});

test("the detail of a failure is short and hides secrets", () => {
  const failed = outcome(
    400,
    error(131009, { message: "secret", error_data: { details: `secret ${"👍".repeat(2000)}` } }),
  );
  assert.ok(
    failed.kind === "refused" && failed.detail.startsWith("131009: [hidden] [hidden]") && failed.detail.length < 1100,
  );
  assert.ok(JSON.stringify(failed).isWellFormed());
  assert.partialDeepStrictEqual(outcome(400, error(131009, { error_data: "plain text" })), { kind: "refused" });
});

test("a success without a message id is unknown", () => {
  const named = { contacts: [{ input: "1", wa_id: "16505551234" }], messages: [{ id: "wamid.A" }] };
  assert.partialDeepStrictEqual(outcome(200, named), { kind: "sent", providerMessageId: "wamid.A" });
  for (const body of [{}, { messages: [] }, { messages: [{}] }, { messages: [{ id: "" }] }, "true", ""]) {
    assert.equal(outcome(200, body).kind, "unknown");
  }
});
