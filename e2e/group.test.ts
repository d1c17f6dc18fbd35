import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import type { Conversation, Message, User } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { inParallel } from "./src/in-parallel.ts";
import { assertFine, checkerOf, observe } from "./src/observe.ts";
import type { Person } from "./src/people.ts";

const total = 500;

describe("a group of a person on WhatsApp, a person on Telegram and an agent", () => {
  let hub: TestHub;
  let ana: Person;
  let bruno: Person;
  let agent: User & { client: TestHub["client"] };
  let group: Conversation;
  /** In the order of `seq`. */
  let messages: Message[];

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    ana = hub.person("whatsapp", "Ana");
    bruno = hub.person("telegram", "Bruno");
    agent = await hub.user("agent", "Carla");
    group = await hub.group([ana, bruno, agent.user_id]);
  });

  /** The last message of the group, once a person on a platform wrote it. */
  function receivedText(text: string): Promise<Message> {
    return until(`“${text}” is in the conversation`, async () => {
      const { data } = await agent.client.conversations.messages(group.conversation_id, { limit: 20 });
      return data.find(({ payload }) => payload.type === "text" && payload.text === text);
    });
  }

  function deliveryTo(message: Message, channel: string) {
    return message.deliveries.find((delivery) => delivery.channel === channel)!;
  }

  test("500 messages arrive on both platforms in order, each once, and their statuses only advance", async () => {
    const { conversation_id } = group;
    const recipients = [ana.address, bruno.address];
    const numbers = Array.from({ length: total }, (_, index) => index);
    const sent = await inParallel(numbers, 16, async (number) => {
      const text = `message ${number}`;
      const { seq, message_id } = await hub.client.messages.send({ conversation_id, payload: { type: "text", text } });
      return { conversation: conversation_id, seq, messageId: message_id, text, recipients };
    });
    await hub.settled(60_000);
    const observed = await observe({
      client: hub.client,
      simulator: hub.simulator,
      conversationIds: [conversation_id],
      checker: checkerOf(sent),
    });
    assertFine(observed);
    assert.equal(observed.counts.received, 2 * total);
    assert.equal(observed.excusedDuplicates.length, 0);
    messages = observed.messages;
    assert.deepEqual(
      messages.map(({ seq }) => seq),
      numbers.map((number) => number + 1),
    );
  });

  test("statuses advance to read on WhatsApp and stop at sent on Telegram", () => {
    for (const message of messages) {
      assert.equal(deliveryTo(message, "whatsapp").status, "read");
      assert.equal(deliveryTo(message, "telegram").status, "sent");
      assert.equal(deliveryTo(message, "app").status, "in_transit");
      assert.equal(message.status, "in_transit");
    }
  });

  test("the audit trail has every step in order", async () => {
    const trail = await hub.client.messages.events(messages[0]!.message_id);
    const of = (channel: string | null) => trail.filter((entry) => entry.channel === channel);
    assert.deepEqual(
      of(null).map(({ status, cause }) => [status, cause]),
      [["accepted", "accepted"]],
    );
    const statuses = (channel: string) => of(channel).map(({ status }) => status);
    assert.deepEqual(statuses("whatsapp"), ["accepted", "in_transit", "sent", "delivered", "read"]);
    assert.deepEqual(statuses("telegram"), ["accepted", "in_transit", "sent"]);
    assert.deepEqual(statuses("app"), ["in_transit"]);
  });

  test("messages that the agent has read are read in the app, and no others", async () => {
    await agent.client.conversations.read(group.conversation_id, 400);
    const [read, unread] = await Promise.all(
      [399, 400].map((index) => hub.client.messages.get(messages[index]!.message_id)),
    );
    assert.equal(deliveryTo(read!, "app").status, "read");
    assert.equal(read!.status, "sent");
    assert.equal(deliveryTo(unread!, "app").status, "in_transit");
  });

  test("Ana's reply on WhatsApp arrives on Telegram with her name in front, and in the conversation", async () => {
    const [first] = await ana.received();
    await ana.writes("I got them all", { replyTo: first!.provider_message_id });
    const reply = await receivedText("I got them all");
    assert.equal(reply.seq, total + 1);
    assert.equal(reply.direction, "inbound");
    assert.equal(reply.reply_to, messages[0]!.message_id);
    const got = (await bruno.receives(total + 1)).at(-1)!;
    assert.equal(got.text, "Ana: I got them all");
    const [quoted] = await bruno.received();
    assert.equal(String(got.raw.reply_parameters.message_id), quoted!.provider_message_id);
    const { deliveries } = await hub.client.messages.get(reply.message_id);
    assert.deepEqual(deliveries.map(({ channel }) => channel).toSorted(), ["app", "telegram"]);
    assert.equal((await ana.received()).length, total);
  });

  test("Bruno's reply on Telegram arrives on WhatsApp, without his name if the conversation is set so", async () => {
    await bruno.writes("me too");
    await receivedText("me too");
    assert.equal((await ana.receives(total + 1)).at(-1)!.text, "Bruno: me too");

    await hub.client.conversations.change(group.conversation_id, { settings: { author_prefix: false } });
    await ana.writes("no name, please");
    await receivedText("no name, please");
    assert.equal((await bruno.receives(total + 2)).at(-1)!.text, "no name, please");
  });

  test("a message of the agent reaches both people", async () => {
    await agent.client.messages.send({
      conversation_id: group.conversation_id,
      payload: { type: "text", text: "Fine" },
    });
    assert.equal((await ana.receives(total + 2)).at(-1)!.text, "Fine");
    assert.equal((await bruno.receives(total + 3)).at(-1)!.text, "Fine");
  });

  test("the trace has routes, attempts and webhooks, and neither a credential nor message text", async () => {
    const text = `canary-${randomUUID()}`;
    const sent = await hub.client.messages.send({
      conversation_id: group.conversation_id,
      payload: { type: "text", text },
    });
    await hub.settled();
    const trace = await hub.client.messages.trace(sent.message_id);
    const count = (what: string) => trace.filter((entry) => entry.what === what).length;
    assert.equal(count("accepted"), 1);
    assert.equal(count("routed"), 3);
    assert.equal(count("attempt"), 2);
    assert.ok(count("webhook") >= 1);
    const times = trace.map(({ at }) => at);
    assert.deepEqual(times, times.toSorted());
    const shown = JSON.stringify(trace);
    const secrets = (await hub.simulator.accounts()).flatMap(({ access_token, app_secret, bot_token, secret_token }) =>
      [access_token, app_secret, bot_token, secret_token].filter((secret) => typeof secret === "string"),
    );
    assert.ok(secrets.length >= 4);
    for (const secret of [text, ...secrets]) {
      assert.equal(shown.includes(secret), false, "the trace contains a secret");
      assert.equal(
        hub.log.lines.some((line) => line.includes(secret)),
        false,
        "the log contains a secret",
      );
    }
  });
});
