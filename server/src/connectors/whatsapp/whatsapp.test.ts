import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { connectorSuite } from "../../testing/suites/connector-suite.ts";
import { whatsapp } from "./whatsapp.ts";

const credentials = {
  phone_number_id: "106540352242922",
  access_token: "EAAcanary-of-the-access-token",
  app_secret: "canary-of-the-app-secret",
  verify_token: "canary-of-the-verify-token",
};

connectorSuite({
  connector: whatsapp,
  credentials,
  revoked: { ...credentials, access_token: "EAArevoked-access-token", app_secret: "revoked-app-secret" },
  secrets: [credentials.access_token, credentials.app_secret, credentials.verify_token, "EAArevoked-access-token"],
  simulatorAccount: { channel: "whatsapp", ...credentials },
  fixtures: new URL("fixtures/", import.meta.url),
  sign: (rawBody, { app_secret }) => ({
    "x-hub-signature-256": `sha256=${createHmac("sha256", app_secret).update(rawBody).digest("hex")}`,
  }),
  signsBody: true,
  person: "+5511999991111",
  identifiers: [
    ["+5511999991111", "+5511999991111"],
    ["5511999991111", null],
    ["11987654321", null],
    ["++5511999991111", null],
    ["005511999991111", "+5511999991111"],
    [" +55 (11) 99999-1111 ", "+5511999991111"],
    ["\u202a+55\u00a011\u201199999.1111\u202c", "+5511999991111"],
    ["BR.13491208655302741918", "BR.13491208655302741918"],
    ["US.ENT.13491208655302741918", "US.ENT.13491208655302741918"],
    ["+44 (0)20 7946 0000", null],
    ["+0511999991111", null],
    ["123456", null],
    ["+1234567890123456", null],
    ["ana", null],
    ["", null],
  ],
  samples: {
    text: { type: "text", text: "olá 👍" },
    file: { type: "file", file_id: "", caption: "our offer" },
    location: { type: "location", latitude: -23.56, longitude: -46.65, name: "Loja" },
    reaction: { type: "reaction", message_id: "", emoji: "👍" },
    template: { type: "template", name: "order_shipped", language: "pt_BR", parameters: ["Ana", "A-1742"] },
  },
  kinds: { file: "document" },
  serverError: "retry",
});

test("the signature is the platform's own", () => {
  // Computed once outside of this code, over the escaped bytes that Meta signs.
  const rawBody = Buffer.from(
    '{"object":"page","entry":[{"id":"100","time":1700000000000,"messaging":[{"sender":{"id":"200"},' +
      '"recipient":{"id":"100"},"timestamp":1700000000000,"message":{"mid":"m_1","text":"ol\\u00e1 \\ud83d\\udc4d a\\/b"}}]}]}',
  );
  const signature = "sha256=e94f6ca7937dfd2aa897d9494862eba35e10f03fb29add9cdde7a91b6b3a29ba";
  const request = { headers: { "x-hub-signature-256": signature }, rawBody };
  assert.equal(whatsapp.verify(request, { ...credentials, app_secret: "chat4all-test-secret" }), true);
});

test("a long batch is read completely, in the order of its times", () => {
  const statuses = Array.from({ length: 1000 }, (_, i) => ({
    id: `wamid.${i}`,
    status: "delivered",
    timestamp: String(1_763_640_000 + ((i * 7) % 1000)),
  }));
  const value = { metadata: { phone_number_id: credentials.phone_number_id }, statuses };
  const rawBody = Buffer.from(JSON.stringify({ entry: [{ changes: [{ field: "messages", value }] }] }));
  const times = Array.from(whatsapp.parse({ headers: {}, rawBody }, credentials), (event) =>
    "at" in event ? event.at : 0,
  );
  assert.equal(times.length, 1000);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
});
