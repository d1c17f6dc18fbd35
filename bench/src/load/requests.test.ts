import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRequest, numberOf, textLength, textOf } from "./requests.ts";

const conversationIds = ["01a1fbc6-7eb7-72ee-83d7-2162610fbc1f", "01a1fbc6-7eb7-72ee-83d7-2162610fbc20"];
const traffic = { url: "http://127.0.0.1:8080", authorization: "Bearer key", conversationIds };

function bodyOf(request: Buffer) {
  const [head, body] = request.toString().split("\r\n\r\n");
  assert.equal(Number(/content-length: (\d+)/.exec(head!)![1]), body!.length);
  return JSON.parse(body!);
}

test("a reused request buffer holds complete requests, and every message is unique", () => {
  const request = makeRequest({ ...traffic, batchSize: 1 });
  for (const number of [1, 2, 999_999_999_999]) {
    const { conversation_id, payload } = bodyOf(request.fill(number));
    assert.equal(conversation_id, conversationIds[number % 2]);
    assert.equal(payload.text, textOf(number));
    assert.equal(payload.text.length, textLength);
    assert.equal(numberOf(payload.text), number);
  }
});

test("a batch holds the messages from the given number on", () => {
  const { messages } = bodyOf(makeRequest({ ...traffic, batchSize: 3 }).fill(7));
  assert.deepEqual(
    messages.map((message: { payload: { text: string } }) => numberOf(message.payload.text)),
    [7, 8, 9],
  );
});
