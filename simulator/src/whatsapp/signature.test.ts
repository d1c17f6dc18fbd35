import assert from "node:assert/strict";
import { test } from "node:test";
import { asciiJson, signatureHeaders } from "./webhook.ts";

test("bodies are escaped and signed as the platform's test vector says", () => {
  const message = { mid: "m_1", text: "olá 👍 a/b" };
  const messaging = [{ sender: { id: "200" }, recipient: { id: "100" }, timestamp: 1700000000000, message }];
  const body = asciiJson({ object: "page", entry: [{ id: "100", time: 1700000000000, messaging }] });
  assert.equal(body.length, 210);
  assert.ok(body.toString().includes(String.raw`"text":"ol\u00e1 \ud83d\udc4d a\/b"`));
  assert.deepEqual(signatureHeaders(body, "chat4all-test-secret"), {
    "x-hub-signature-256": "sha256=e94f6ca7937dfd2aa897d9494862eba35e10f03fb29add9cdde7a91b6b3a29ba",
    "x-hub-signature": "sha1=ccf747ed25ee12b11e2ad1d00d96721dcaf462bb",
  });
});
