import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import type { OutboundPart } from "../connector.ts";
import { otherSpellings, parseIdentifier } from "./identifier.ts";
import { messageRequest } from "./request.ts";

const deliveryId = "0196f3a2-7c00-7000-8000-000000000001";

function body(payload: MessagePayload, rest: Partial<OutboundPart> = {}) {
  const part = { deliveryId, partIndex: 0, identifier: "+5511999991111", payload, ...noTargets, ...rest };
  const request = messageRequest(part);
  return request === null ? null : JSON.parse(request.body);
}

const noTargets = { quotedProviderMessageId: null, targetProviderMessageId: null };
const text = { type: "text", text: "oi" } as const;

test("a text carries its delivery id, and the number of a later part", () => {
  assert.deepEqual(body(text, { quotedProviderMessageId: "wamid.Q" }), {
    messaging_product: "whatsapp",
    recipient_type: "individual",
    to: "5511999991111",
    context: { message_id: "wamid.Q" },
    biz_opaque_callback_data: deliveryId,
    type: "text",
    text: { body: "oi" },
  });
  assert.equal(body(text, { partIndex: 12 }).biz_opaque_callback_data, `${deliveryId}:12`);
});

test("a person without a number is addressed by the user id", () => {
  const sent = body(text, { identifier: "BR.13491208655302741918" });
  assert.equal(sent.recipient, "BR.13491208655302741918");
  assert.equal("to" in sent, false);
});

test("template parameters are positional or named", () => {
  const template = { type: "template", name: "order_shipped", language: "pt_BR" } as const;
  const head = { name: "order_shipped", language: { code: "pt_BR" } };
  assert.deepEqual(body({ ...template, parameters: [] }).template, head);
  assert.deepEqual(body({ ...template, parameters: {} }).template, head);
  assert.deepEqual(body({ ...template, parameters: ["Ana", "A-17"] }).template.components, [
    {
      type: "body",
      parameters: [
        { type: "text", text: "Ana" },
        { type: "text", text: "A-17" },
      ],
    },
  ]);
  assert.deepEqual(body({ ...template, parameters: { order_id: "A-17" } }).template.components, [
    { type: "body", parameters: [{ type: "text", parameter_name: "order_id", text: "A-17" }] },
  ]);
});

test("a reaction names its target, quotes nothing, and is removed with an empty emoji", () => {
  const target = { targetProviderMessageId: "wamid.T", quotedProviderMessageId: "wamid.Q" };
  const sent = body({ type: "reaction", message_id: deliveryId, emoji: "" }, target);
  assert.deepEqual(sent.reaction, { message_id: "wamid.T", emoji: "" });
  assert.equal("context" in sent, false);
  assert.equal(body({ type: "reaction", message_id: deliveryId, emoji: "👍" }), null);
});

test("a lone surrogate does not reach the platform", () => {
  assert.equal(body({ type: "text", text: "a\ud83d" }).text.body, "a\ufffd");
});

test("two spellings of a number that reach one phone name each other", () => {
  const pairs = [
    ["+5511999991111", "+551199991111"],
    ["+525512345678", "+5215512345678"],
    ["+541112345678", "+5491112345678"],
  ] as const;
  for (const [one, other] of pairs) {
    assert.deepEqual([otherSpellings(one), otherSpellings(other)], [[other], [one]]);
    assert.deepEqual([parseIdentifier(one), parseIdentifier(other)], [one, other]);
  }
  // A Brazilian landline is not the mobile whose number ends like it.
  for (const alone of ["+551132345678", "+5511932345678", "+16505551234", "BR.1"])
    assert.deepEqual(otherSpellings(alone), []);
});
