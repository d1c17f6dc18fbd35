import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { ApiError, type NewMessage, openClient, type Payload } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { openChecker } from "./src/checker.ts";
import { adminPassword, startTestHub, type TestHub } from "./src/harness.ts";
import { assertFine, observe } from "./src/observe.ts";

const text = (text: string): Payload => ({ type: "text", text });

/** The error of a refused call. */
async function refusal(call: Promise<unknown>): Promise<ApiError> {
  const error = await call.then(
    () => assert.fail("it was not refused"),
    (reason) => reason,
  );
  assert.ok(error instanceof ApiError, `${error}`);
  assert.ok(error.requestId);
  return error;
}

describe("what the API promises to senders", () => {
  let hub: TestHub;
  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
  });

  async function openConversation(channel = "whatsapp") {
    const person = hub.person(channel);
    const { conversation_id } = await hub.group([person, hub.person("telegram"), hub.person("telegram")]);
    return { person, conversation_id };
  }

  // A client that retries in a hurry, from many threads, while the first response is still on its way.
  test("200 sends at once with one message_id are one message, and all get the same response", async () => {
    const { conversation_id, person } = await openConversation();
    const body = { message_id: randomUUID(), conversation_id, payload: text("once") };
    const answers = await Promise.all(Array.from({ length: 200 }, () => hub.client.messages.send(body)));
    assert.equal(answers.filter(({ isReplayed }) => !isReplayed).length, 1);
    const answered = new Set(answers.map(({ isReplayed: _, ...answer }) => JSON.stringify(answer)));
    assert.equal(answered.size, 1);
    assert.equal(answers[0]!.seq, 1);
    await hub.settled();
    assert.deepEqual(await person.texts(), ["once"]);
    assert.equal((await hub.client.messages.send(body)).isReplayed, true);
    assert.equal((await hub.client.conversations.get(conversation_id)).last_seq, 1);
  });

  test("the same message_id with another body is a conflict, and changes nothing", async () => {
    const { conversation_id } = await openConversation();
    const body = { message_id: randomUUID(), conversation_id, payload: text("this") };
    await hub.client.messages.send(body);
    for (const other of [{ payload: text("that") }, { metadata: { a: 1 } }, { channels: ["whatsapp"] }]) {
      const { status, code } = await refusal(hub.client.messages.send({ ...body, ...other }));
      assert.deepEqual([status, code], [409, "IDEMPOTENCY_CONFLICT"]);
    }
    const { data } = await hub.client.conversations.messages(conversation_id);
    assert.deepEqual(
      data.map(({ payload }) => payload),
      [text("this")],
    );
  });

  test("parallel sends with one message_id and two bodies are one message; the others get a conflict", async () => {
    const { conversation_id } = await openConversation();
    const message_id = randomUUID();
    const answers = await Promise.allSettled(
      Array.from({ length: 60 }, (_, index) =>
        hub.client.messages.send({ message_id, conversation_id, payload: text(index % 2 ? "odd" : "even") }),
      ),
    );
    const { payload } = await hub.client.messages.get(message_id);
    const isOdd = payload.type === "text" && payload.text === "odd";
    for (const [index, answer] of answers.entries()) {
      if ((index % 2 === 1) === isOdd) assert.equal(answer.status, "fulfilled");
      else assert.equal((answer as PromiseRejectedResult).reason.code, "IDEMPOTENCY_CONFLICT");
    }
    assert.equal((await hub.client.conversations.get(conversation_id)).last_seq, 1);
  });

  test("bad items of a batch of 1,000 fail alone, each with its reason, in the order of the request", async () => {
    const { conversation_id, person } = await openConversation();
    const bad: Record<number, [item: unknown, code: string]> = {
      0: [{ conversation_id, payload: { type: "text", text: "" } }, "VALIDATION_ERROR"],
      77: [{ conversation_id: randomUUID(), payload: text("nowhere") }, "RESOURCE_NOT_FOUND"],
      123: ["no message at all", "VALIDATION_ERROR"],
      500: [{ conversation_id, payload: text("a"), colour: "red" }, "VALIDATION_ERROR"],
      501: [{ conversation_id, payload: text("\ud800") }, "VALIDATION_ERROR"],
      998: [{ conversation_id, payload: text("x"), from: randomUUID() }, "RESOURCE_NOT_FOUND"],
      999: [{ payload: text("to nobody") }, "VALIDATION_ERROR"],
    };
    const messages = Array.from({ length: 1_000 }, (_, index) => {
      const good = { message_id: randomUUID(), conversation_id, payload: text(`${index}`), channels: ["whatsapp"] };
      return (bad[index]?.[0] ?? good) as NewMessage;
    });
    const results = await hub.client.messages.sendBatch(messages);
    assert.equal(results.length, 1_000);
    let seq = 0;
    for (const [index, result] of results.entries()) {
      if (bad[index] !== undefined) {
        assert.equal(result.error?.code, bad[index][1], `item ${index}`);
        continue;
      }
      assert.equal(result.error, undefined);
      assert.equal(result.message_id, messages[index]!.message_id);
      assert.equal((result as { seq: number }).seq, ++seq);
    }
    // Sent one after the other with two commits each, which takes long on a slow disk.
    await hub.settled(90_000);
    assert.equal((await person.received()).length, 993);
  });

  test("a message without a recipient is refused with NO_ROUTE", async () => {
    const person = hub.person("whatsapp");
    const send = hub.client.messages.send({ to: person.address, channels: ["telegram"], payload: text("hi") });
    const { status, code } = await refusal(send);
    assert.deepEqual([status, code], [422, "NO_ROUTE"]);
  });

  test("a member without an address on the requested channel is reported beside the others", async () => {
    const { conversation_id, person } = await openConversation();
    const sent = await hub.client.messages.send({ conversation_id, channels: ["whatsapp"], payload: text("hi") });
    await person.receives(1);
    const { deliveries } = await hub.status(sent.message_id, "read");
    const failed = deliveries.filter((delivery) => delivery.status === "failed");
    assert.deepEqual(
      failed.map(({ error }) => error?.code),
      ["NO_ADDRESS", "NO_ADDRESS"],
    );
  });

  test("a user who is not in a conversation gets the same response as for an absent one", async () => {
    const { conversation_id } = await openConversation();
    const sent = await hub.client.messages.send({ conversation_id, payload: text("private") });
    const member = await hub.user("member");
    const slug = randomUUID().slice(0, 8);
    const stranger = { username: `stranger-${slug}`, password: adminPassword };
    await hub.admin.workspaces.create({
      name: "Another",
      admin: { ...stranger, email: `stranger-${slug}@example.com` },
    });
    const elsewhere = openClient({ url: hub.url, credential: stranger });
    const account = await hub.account("whatsapp");
    const contact = (await hub.client.contacts.list()).data[0]!;

    const nowhere = randomUUID();
    for (const { messages, conversations } of [member.client, elsewhere]) {
      const calls: [call: (id: string) => Promise<unknown>, id: string][] = [
        [(id) => messages.send({ conversation_id: id, payload: text("let me in") }), conversation_id],
        [conversations.get, conversation_id],
        [conversations.messages, conversation_id],
        [messages.get, sent.message_id],
        [messages.events, sent.message_id],
      ];
      for (const [call, id] of calls) {
        const [found, missing] = [await refusal(call(id)), await refusal(call(nowhere))];
        assert.deepEqual([found.status, found.code], [404, "RESOURCE_NOT_FOUND"]);
        assert.deepEqual([found.message, found.details], [missing.message, missing.details]);
      }
      assert.deepEqual((await conversations.list()).data, []);
    }
    for (const call of [
      () => elsewhere.contacts.get(contact.contact_id),
      () => elsewhere.channelAccounts.get(account.channel_account_id),
      () => elsewhere.messages.trace(sent.message_id),
      () => elsewhere.users.get(member.user_id),
    ]) {
      assert.equal((await refusal(call())).status, 404);
    }
    assert.deepEqual((await elsewhere.deadLetters.list()).data, []);
  });

  test("a message_id of another workspace can be used, so that its use there stays hidden", async () => {
    const { conversation_id } = await openConversation();
    const { message_id } = await hub.client.messages.send({ conversation_id, payload: text("ours") });
    const slug = randomUUID().slice(0, 8);
    const credential = { username: `other-${slug}`, password: adminPassword };
    await hub.admin.workspaces.create({ name: "Other", admin: { ...credential, email: `o-${slug}@example.com` } });
    const other = openClient({ url: hub.url, credential });
    const theirs = await other.conversations.create({
      type: "private",
      members: [(await other.auth.me()).user_id, (await user(other)).user_id],
    });
    const sent = await other.messages.send({
      message_id,
      conversation_id: theirs.conversation_id,
      payload: text("theirs"),
    });
    assert.deepEqual([sent.seq, sent.isReplayed], [1, false]);
    assert.deepEqual((await hub.client.messages.get(message_id)).payload, text("ours"));
    assert.deepEqual((await other.messages.get(message_id)).payload, text("theirs"));
  });

  const user = (client: TestHub["client"]) => hub.user("agent", "A colleague", client);

  test("the error for an unknown field names it", async () => {
    const { conversation_id } = await openConversation();
    const body = { conversation_id, payload: text("hi"), mesage_id: randomUUID() };
    const { status, code, message, details } = await refusal(hub.client.messages.send(body as NewMessage));
    assert.deepEqual([status, code], [400, "VALIDATION_ERROR"]);
    assert.match(`${message} ${JSON.stringify(details)}`, /mesage_id/);
  });

  test("text that cannot be stored is refused in every field", async () => {
    const { conversation_id } = await openConversation();
    for (const bad of ["a\u0000b", "half \ud83d", "\udc00 the other"]) {
      for (const body of [
        { payload: text(bad) },
        { payload: text("hi"), metadata: { note: bad } },
        { payload: text("hi"), metadata: { [bad]: 1 } },
        { payload: { type: "location", latitude: 0, longitude: 0, name: bad } as const },
      ]) {
        const { status, code } = await refusal(hub.client.messages.send({ conversation_id, ...body }));
        assert.deepEqual([status, code], [400, "VALIDATION_ERROR"], JSON.stringify(body));
      }
    }
    assert.equal((await hub.client.conversations.get(conversation_id)).last_seq, 0);
  });

  test("a body over 1 MiB is refused with 413", async () => {
    const { conversation_id } = await openConversation();
    const huge = { conversation_id, payload: text("hi"), metadata: { blob: "x".repeat(1024 * 1024) } };
    const { status, code } = await refusal(hub.client.messages.send(huge));
    assert.deepEqual([status, code], [413, "PAYLOAD_TOO_LARGE"]);
  });

  test("a body that is not JSON, an unknown path and a missing token get the same shape of error", async () => {
    const post = (path: string, init: RequestInit = {}) => fetch(`${hub.url}${path}`, { method: "POST", ...init });
    const headers = { "content-type": "application/json", authorization: "Bearer nonsense" };
    for (const [response, status, code] of [
      [await post("/auth/token", { body: "{", headers }), 400, "VALIDATION_ERROR"],
      [await post("/nowhere"), 404, "RESOURCE_NOT_FOUND"],
      [
        await post("/v1/messages", { body: "{}", headers: { "content-type": "application/json" } }),
        401,
        "AUTH_REQUIRED",
      ],
      [await post("/v1/messages", { body: "{}", headers }), 401, "AUTH_INVALID"],
    ] as const) {
      const body = (await response.json()) as { success: boolean; error: Record<string, unknown> };
      assert.deepEqual([response.status, body.success, body.error.code], [status, false, code]);
      assert.equal(body.error.request_id, response.headers.get("x-request-id"));
    }
  });
});

// A hub that takes everything and falls over loses more than one that says no in time.
test("a hub with a full queue returns 503 with retry-after and loses no accepted message", async () => {
  await using hub = await startTestHub({ env: { ACCEPT_QUEUE_SIZE: "40", ACCEPT_BATCH_SIZE: "10" } });
  const people = Array.from({ length: 4 }, (_, index) => hub.person(index % 2 ? "telegram" : "whatsapp"));
  const conversations = await Promise.all(
    people.map(async (person) => {
      const { conversation_id } = await hub.client.messages.send({ to: person.address, payload: text("first") });
      return { conversation: conversation_id, recipients: [person.address] };
    }),
  );
  const checker = openChecker();
  for (const { conversation, recipients } of conversations) {
    checker.accepted({ conversation, seq: 1, messageId: `first in ${conversation}`, text: "first", recipients });
  }
  let refused = 0;
  const sendBatch = async (batch: number) => {
    const messages = Array.from({ length: 20 }, (_, index) => {
      const { conversation, recipients } = conversations[(batch + index) % conversations.length]!;
      return { id: randomUUID(), conversation, recipients, text: `${batch}/${index}` };
    });
    try {
      const results = await hub.client.messages.sendBatch(
        messages.map((one) => ({ message_id: one.id, conversation_id: one.conversation, payload: text(one.text) })),
      );
      for (const [index, { id, ...one }] of messages.entries()) {
        const result = results[index]!;
        assert.equal(result.error, undefined);
        checker.accepted({ ...one, seq: (result as { seq: number }).seq, messageId: id });
      }
    } catch (error) {
      assert.ok(error instanceof ApiError, `${error}`);
      assert.deepEqual([error.status, error.code], [503, "OVERLOADED"]);
      assert.ok(error.retryAfterSeconds! >= 1);
      refused += 1;
    }
  };
  await Promise.all(Array.from({ length: 100 }, (_, batch) => sendBatch(batch)));
  assert.ok(refused > 0, "the queue never filled");
  assert.ok(refused < 100, "nothing got through");
  // Once it is quiet again, all is as before.
  await until("it accepts again", () => sendBatch(100).then(() => true));
  await hub.settled(30_000);
  const conversationIds = conversations.map(({ conversation }) => conversation);
  assertFine(await observe({ client: hub.client, simulator: hub.simulator, conversationIds, checker, trails: false }));
});
