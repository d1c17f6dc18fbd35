import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessagePayload } from "../../../../contract/src/payloads.ts";
import { systemClock } from "../../lib/clock.ts";
import type { HttpCall } from "../../lib/http.ts";
import { type ChannelAccountId, newId } from "../../lib/ids.ts";
import type { OutboundPart, SendOutcome } from "../connector.ts";
import { send } from "./send.ts";

interface Answer {
  status: number;
  body: object;
  headers?: Record<string, string>;
}

const deliveryId = "0196f3a2-7c00-7000-8000-000000000001";
const text = { type: "text", text: "oi" } as const;
const ok = (chatId: number): Answer => ({
  status: 200,
  body: { ok: true, result: { message_id: 18, chat: { id: chatId }, text: "oi" } },
});
const refusal = (status: number, description: string, more: object = {}): Answer => ({
  status,
  body: { ok: false, error_code: status, description, ...more },
});

/** Sends over a network that gives these responses, one after the other. */
async function sendWith(answers: Answer[], payload: MessagePayload = text, rest: Partial<OutboundPart> = {}) {
  const calls: { method: string; parameters: Record<string, unknown> }[] = [];
  const http = async ({ url, body }: HttpCall) => {
    calls.push({ method: url.slice(url.lastIndexOf("/") + 1), parameters: JSON.parse(String(body)) });
    const { status, body: answer, headers } = answers.shift()!;
    return { status, headers: headers ?? {}, body: JSON.stringify(answer) };
  };
  const account = {
    channelAccountId: newId<ChannelAccountId>(0),
    channel: "telegram",
    name: "test",
    credentials: { bot_token: "700000001:token", secret_token: "secret-token" },
    settings: {},
  };
  const part = { deliveryId, partIndex: 0, identifier: "123456789", payload, ...noTargets, ...rest };
  const read = () => Promise.reject(new Error("nothing is fetched"));
  const io = { http, read, clock: systemClock, random: Math.random, timeoutMs: 1_000 };
  const outcome: SendOutcome = await send(part, account, io);
  return { outcome, calls };
}

const noTargets = { quotedProviderMessageId: null, targetProviderMessageId: null };

test("the id of a message is that of its chat and its number there", async () => {
  const { outcome, calls } = await sendWith([ok(123456789)]);
  assert.partialDeepStrictEqual(outcome, { kind: "sent", providerMessageId: "123456789:18" });
  assert.deepEqual(calls, [{ method: "sendMessage", parameters: { chat_id: 123456789, text: "oi" } }]);
});

test("a quote that cannot be shown is omitted", async () => {
  const quote = async (quotedProviderMessageId: string) =>
    (await sendWith([ok(1)], text, { quotedProviderMessageId })).calls[0]?.parameters.reply_parameters;
  assert.deepEqual(await quote("123456789:17"), { message_id: 17, allow_sending_without_reply: true });
  for (const other of ["987:17", "123456789:", "123456789:callback:4", `reaction:${deliveryId}`, ""]) {
    assert.equal(await quote(other), undefined, other);
  }
});

test("a place with a name is a venue", async () => {
  const place = { type: "location", latitude: -23.5, longitude: -46.6, name: "Loja" } as const;
  const { calls } = await sendWith([ok(123456789)], place);
  assert.deepEqual(calls[0], {
    method: "sendVenue",
    parameters: { chat_id: 123456789, latitude: -23.5, longitude: -46.6, title: "Loja", address: "-23.5, -46.6" },
  });
});

test("a reaction is spelled as Telegram lists it, and an empty one removes it", async () => {
  const done: Answer = { status: 200, body: { ok: true, result: true } };
  const target = { targetProviderMessageId: "123456789:17" };
  const heart = await sendWith([done], { type: "reaction", message_id: deliveryId, emoji: "❤\ufe0f" }, target);
  assert.deepEqual(heart.calls[0]?.parameters, {
    chat_id: 123456789,
    message_id: 17,
    reaction: [{ type: "emoji", emoji: "❤" }],
  });
  assert.partialDeepStrictEqual(heart.outcome, { kind: "sent", providerMessageId: `reaction:${deliveryId}` });
  const none = await sendWith([done], { type: "reaction", message_id: deliveryId, emoji: "" }, target);
  assert.deepEqual(none.calls[0]?.parameters.reaction, []);
});

test("a group that became a supergroup is followed, once", async () => {
  const moved = refusal(400, "Bad Request: group chat was upgraded to a supergroup chat", {
    parameters: { migrate_to_chat_id: -1001234567890 },
  });
  const followed = await sendWith([moved, ok(-1001234567890)], text, { identifier: "-4455" });
  assert.deepEqual(
    followed.calls.map(({ parameters }) => parameters.chat_id),
    [-4455, -1001234567890],
  );
  assert.partialDeepStrictEqual(followed.outcome, { kind: "sent", providerMessageId: "-1001234567890:18" });
  const lost = await sendWith([moved, moved], text, { identifier: "-4455" });
  assert.equal(lost.calls.length, 2);
  assert.partialDeepStrictEqual(lost.outcome, { kind: "refused", reason: "INVALID_RECIPIENT" });
});

test("a bot that is too fast for one chat does not delay the others", async () => {
  const flood = refusal(429, "Too Many Requests: retry after 14", { parameters: { retry_after: 14 } });
  const expected = { kind: "retry", scope: "lane", platformFault: false };
  assert.partialDeepStrictEqual((await sendWith([flood])).outcome, { ...expected, afterMs: 14_000 });
  const longer = { ...flood, headers: { "retry-after": "20" } };
  assert.partialDeepStrictEqual((await sendWith([longer])).outcome, { ...expected, afterMs: 20_000 });
  assert.partialDeepStrictEqual((await sendWith([refusal(429, "slow down")])).outcome, { ...expected, afterMs: null });
});

test("the description of a refusal decides its reason, and the code of an unknown one", async () => {
  const cases: [status: number, description: string, reason: string, kind?: "account_refused"][] = [
    [400, "Bad Request: chat not found", "INVALID_RECIPIENT"],
    [400, "Bad Request: message text is empty", "PAYLOAD_INVALID"],
    [400, "Bad Request: message is too long", "PAYLOAD_INVALID"],
    [400, "Bad Request: REACTION_INVALID", "PAYLOAD_INVALID"],
    [400, "Bad Request: not enough rights to send text messages to the chat", "RECIPIENT_UNREACHABLE"],
    [400, "Bad Request: something new", "PLATFORM_REFUSED"],
    [401, "Unauthorized", "CREDENTIALS_INVALID", "account_refused"],
    [403, "Forbidden: bot was BLOCKED by the user", "RECIPIENT_BLOCKED"],
    [403, "Forbidden: user is deactivated", "RECIPIENT_UNREACHABLE"],
    [403, "Forbidden: bot was kicked from the supergroup chat", "RECIPIENT_UNREACHABLE"],
    [403, "Forbidden: something new", "RECIPIENT_UNREACHABLE"],
    [404, "Not Found", "CREDENTIALS_INVALID", "account_refused"],
    [404, "Not Found: method not found", "PLATFORM_REFUSED"],
    [413, "Request Entity Too Large", "PAYLOAD_INVALID"],
    [421, "Misdirected Request: the bot is served elsewhere", "CREDENTIALS_INVALID", "account_refused"],
  ];
  for (const [status, description, reason, kind = "refused"] of cases) {
    const { outcome } = await sendWith([refusal(status, description)]);
    assert.partialDeepStrictEqual(outcome, { kind, reason, detail: `${status}: ${description}` });
  }
});

test("a front server's 502 is unknown even when it is worded like the Bot API", async () => {
  for (const status of [500, 502, 504]) {
    assert.equal((await sendWith([refusal(status, "Bad Gateway")])).outcome.kind, "unknown");
  }
});
