import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewMessage as SendBody } from "../../../contract/src/messages.ts";
import { metadataLimits } from "../../../contract/src/people.ts";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import type { ConversationId } from "../lib/ids.ts";
import { type PrepareDeps, prepareMessage, storable } from "./prepare.ts";

const workspaceId = "00000000-0000-7000-8000-000000000001";
const ana = "00000000-0000-7000-8000-00000000000a";
const chat = "00000000-0000-7000-8000-0000000000cc";
const account = "00000000-0000-7000-8000-0000000000aa";

const deps: PrepareDeps = {
  clock: { now: () => 1_000, elapsed: () => 1_000, after: () => () => {} },
  isChannel: (name) => name === "phone" || name === "chat",
  parseAddress: (text) => ({ channel: text.split(":")[0]!, identifier: text.split(":")[1]! }),
  findDirects: async (_caller, asked) =>
    asked.map(({ address: { channel, identifier } }) => `direct with ${channel}:${identifier}` as ConversationId),
  isAccount: async (_workspace, channel, id) => channel === "phone" && id === account,
  findRefusedFiles: async () => new Map(),
  findAccepted: async () => new Map(),
};

const member: Principal = {
  kind: "user",
  callerId: ana,
  workspaceId,
  role: "member",
  userId: ana,
  participantId: ana,
  sessionId: null,
  scopes: ["*"],
  rateLimit: null,
  origin: noOrigin,
};
const agent: Principal = { ...member, role: "agent" };
const key: Principal = { ...agent, kind: "api_key", participantId: workspaceId };
const text = { type: "text", text: "oi" } as const;

/** A body as a client might write it, possibly invalid. */
async function prepare(body: Partial<SendBody>, principal: Principal = agent) {
  return prepareMessage(deps, principal, { conversation_id: chat, payload: text, ...body } as SendBody);
}

function refusal(code: string, field?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof RequestError);
    assert.equal(error.code, code);
    if (field !== undefined) assert.equal(error.details?.field, field);
    return true;
  };
}

test("the sender is the caller or, for callers who see all, the participant in `from`", async () => {
  assert.equal((await prepare({})).senderId, ana);
  assert.equal((await prepare({}, key)).senderId, workspaceId);
  assert.equal((await prepare({ from: ana }, member)).senderId, ana);
  assert.equal((await prepare({ from: account })).senderId, account);
  await assert.rejects(prepare({ from: account }, member), refusal("FORBIDDEN"));
});

test("the sender must be a member, unless an agent, an admin or a key sends as itself or the workspace", async () => {
  assert.equal((await prepare({}, member)).mustBeMember, true);
  assert.equal((await prepare({}, agent)).mustBeMember, false);
  assert.equal((await prepare({ from: workspaceId }, agent)).mustBeMember, false);
  assert.equal((await prepare({ from: account }, agent)).mustBeMember, true);
});

test("contradictory fields are refused, and the error names the field", async () => {
  const both = { conversation_id: chat, to: "phone:1" };
  const deep = Array.from({ length: 25 }).reduce<Record<string, unknown>>((inner) => ({ inner }), {});
  const refused: [Partial<SendBody>, string][] = [
    [both, "conversation_id"],
    [{ conversation_id: undefined as never }, "conversation_id"],
    [{ channels: ["fax"] }, "channels"],
    [{ channels: ["all", "phone"] }, "channels"],
    [{ via: { fax: account } }, "via"],
    [{ via: { chat: account } }, "via.chat"],
    [{ fallback: { order: ["fax"] } }, "fallback.order"],
    [{ fallback: { order: ["all"] } }, "fallback.order"],
    [{ fallback: { order: ["phone"] }, channels: ["phone"] }, "fallback"],
    [{ metadata: { note: "x".repeat(metadataLimits.maxBytes) } }, "metadata"],
    [{ metadata: { note: "\u0000" } }, "metadata"],
    [{ metadata: { "\ud800": 1 } }, "metadata"],
    [{ metadata: deep }, "metadata"],
    [{ payload: { type: "text", text: "half \udc00" } }, "payload"],
  ];
  for (const [body, field] of refused) await assert.rejects(prepare(body), refusal("VALIDATION_ERROR", field));
});

test("a file that the caller may not send is refused, unless the message was accepted before", async () => {
  const payload = { type: "file", file_id: account } as const;
  assert.equal((await prepare({ payload })).hasFile, true);
  const error = new RequestError("RESOURCE_NOT_FOUND", "There is no such file.");
  const findRefusedFiles = async () => new Map([[account, error]]);
  const refusing = { ...deps, findRefusedFiles };
  const message_id = "00000000-0000-7000-8000-0000000000ee";
  await assert.rejects(async () => prepareMessage(refusing, member, { conversation_id: chat, payload }), error);
  const findAccepted = async () => new Map([[message_id, { conversationId: chat as ConversationId, to: null }]]);
  const again = { conversation_id: chat, message_id, payload };
  assert.equal((await prepareMessage({ ...refusing, findAccepted }, member, again)).messageId, message_id);
});

test("an address resolves to its conversation", async () => {
  const message = await prepare({ conversation_id: undefined as never, to: "phone:1" });
  assert.equal(message.conversationId, "direct with phone:1");
});

test("channels are stored as requested", async () => {
  assert.equal((await prepare({})).channels, null);
  assert.equal((await prepare({ channels: ["all"] })).channels, "*");
  assert.equal((await prepare({ channels: ["phone", "chat"] })).channels, "phone,chat");
});

// The id of a conversation is also its key on the bus: two spellings would be two orders.
test("the order of fields does not change the prepared message", async () => {
  const one = { message_id: ana, metadata: { a: 1, b: { c: 2, d: 3 } } };
  const other = { metadata: { b: { d: 3, c: 2 }, a: 1 }, message_id: ana };
  assert.deepEqual(await prepare(one), await prepare(other));
});

test("stored JSON has its fields in one order", () => {
  assert.equal(storable({ b: [1, { z: null, y: "é" }], a: true }, "metadata"), '{"a":true,"b":[1,{"y":"é","z":null}]}');
});
