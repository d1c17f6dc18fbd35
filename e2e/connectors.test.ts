import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import type { ApiError, Message, Payload } from "../client/src/client.ts";
import type { ConnectedAccount } from "../server/src/channel-accounts/channel-accounts.ts";
import { connectors } from "../server/src/connectors/registry.ts";
import type { ChannelAccountId } from "../server/src/lib/ids.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";

const text = (text: string): Payload => ({ type: "text", text });

/** How each platform proves that a webhook is its own. */
const proofs: Record<string, (body: string, credentials: Record<string, string>) => Record<string, string>> = {
  whatsapp: (body, { app_secret }) => {
    const digest = createHmac("sha256", app_secret!).update(body).digest("hex");
    return { "x-hub-signature-256": `sha256=${digest}` };
  },
  telegram: (_body, { secret_token }) => ({ "x-telegram-bot-api-secret-token": secret_token! }),
};

for (const { channel, capabilities, handshake } of connectors) {
  describe(`over ${channel}`, () => {
    let hub: TestHub;
    const opened = closeAfterTests();
    before(async () => {
      hub = opened.use(await startTestHub());
    });

    /** Skips tests of features that the platform lacks. */
    const unless = (isCapable: boolean) => ({ skip: !isCapable && `${channel} cannot` });
    const carries = (type: (typeof capabilities.payloads)[number]) => unless(capabilities.payloads.includes(type));

    async function send(person: Person, payload: Payload, more: object = {}) {
      return hub.client.messages.send({ to: person.address, payload, ...more });
    }

    /** The newest message of the conversation, once it is the person's. */
    function messageAt(conversationId: string, seq: number): Promise<Message> {
      return until(`message ${seq} is in the conversation`, async () => {
        const { data } = await hub.client.conversations.messages(conversationId, { limit: 200 });
        return data.find((message) => message.seq === seq && message.direction === "inbound");
      });
    }

    async function account(): Promise<ConnectedAccount> {
      const { channel_account_id } = await hub.account(channel);
      return (await hub.hub.context.accounts.get(channel_account_id as ChannelAccountId))!;
    }

    async function postWebhook(body: string, headers: Record<string, string>): Promise<number> {
      const { channelAccountId } = await account();
      const response = await fetch(`${hub.url}/webhooks/${channel}/${channelAccountId}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body,
      });
      await response.body?.cancel();
      return response.status;
    }

    async function countWebhooks(): Promise<number> {
      const { rows } = await hub.db.query<{ count: number }>("SELECT count(*) AS count FROM webhooks");
      return Number(rows[0]!.count);
    }

    test("a text is sent, and the reply to it is received", async () => {
      const ana = hub.person(channel, "Ana");
      const sent = await send(ana, text("oi, tudo bem? 🙂"));
      await ana.receives(1);
      assert.deepEqual(await ana.texts(), ["oi, tudo bem? 🙂"]);
      await ana.writes("tudo, e você?");
      const answer = await messageAt(sent.conversation_id, 2);
      assert.deepEqual(answer.payload, text("tudo, e você?"));
      const contact = (await hub.client.contacts.list({ address: ana.address })).data[0]!;
      assert.equal(answer.from, contact.contact_id);
    });

    test("receipts advance as far as the platform reports, and every step is recorded", async () => {
      const ana = hub.person(channel);
      const { message_id } = await send(ana, text("how far?"));
      const last = capabilities.receipts.at(-1)!;
      const { deliveries } = await hub.status(message_id, last);
      await hub.settled();
      assert.equal((await hub.client.messages.get(message_id)).status, last);
      const delivery = deliveries[0]!;
      assert.equal(delivery.attempts, 1);
      const trail = await hub.client.messages.events(message_id);
      assert.deepEqual(
        trail.filter((entry) => entry.delivery_id === delivery.delivery_id).map((entry) => entry.status),
        ["accepted", "in_transit", ...capabilities.receipts],
      );
      const times = trail.map((entry) => entry.at);
      assert.deepEqual(times, times.toSorted());
    });

    test("a long text is split in order and completely", async () => {
      const ana = hub.person(channel);
      const words = Array.from({ length: 2_500 }, (_, index) => `word ${index} 🙂`).join(" ");
      const sent = await send(ana, text(words));
      await hub.settled();
      const parts = await ana.texts();
      assert.ok(parts.length > 1);
      assert.ok(parts.every((part) => part!.length <= capabilities.maxTextLength));
      assert.equal(parts.join(""), words);
      const message = await hub.status(sent.message_id, capabilities.receipts.at(-1)!);
      assert.equal(message.deliveries[0]!.provider_message_ids.length, parts.length);
    });

    test("a quote is shown on both sides", unless(capabilities.replies), async () => {
      const ana = hub.person(channel);
      const { message_id, conversation_id } = await send(ana, text("which colour?"));
      const [question] = await ana.receives(1);
      const theirs = await ana.writes("red", { replyTo: question!.provider_message_id });
      const answer = await messageAt(conversation_id, 2);
      assert.equal(answer.reply_to, message_id);

      await send(ana, text("good choice"), { reply_to: answer.message_id });
      const [, reply] = await ana.receives(2);
      const bare = theirs.split(":").at(-1)!;
      const quoted = JSON.stringify(reply!.raw.context ?? reply!.raw.reply_parameters);
      assert.ok(quoted?.includes(bare), `${quoted} names ${bare}`);
    });

    test("a location is sent and received", carries("location"), async () => {
      const ana = hub.person(channel);
      const { conversation_id } = await send(ana, { type: "location", latitude: -23.5614, longitude: -46.6559 });
      const [got] = await ana.receives(1);
      assert.equal(got!.kind, "location");
      assert.match(JSON.stringify(got!.raw), /-23\.5614.*-46\.6559/);
      await ana.writes({ type: "location", latitude: 38.7169, longitude: -9.1399 });
      const answer = await messageAt(conversation_id, 2);
      assert.deepEqual(
        { ...answer.payload, name: undefined },
        {
          type: "location",
          latitude: 38.7169,
          longitude: -9.1399,
          name: undefined,
        },
      );
    });

    test("a reaction reaches the message it is about, on both sides", carries("reaction"), async () => {
      const ana = hub.person(channel);
      const { message_id, conversation_id } = await send(ana, text("we won"));
      const [ours] = await ana.receives(1);
      await ana.writes({ type: "reaction", message_id: ours!.provider_message_id, emoji: "👍" });
      const reaction = await messageAt(conversation_id, 2);
      assert.deepEqual(reaction.payload, { type: "reaction", message_id, emoji: "👍" });

      const theirs = await ana.writes("really?");
      const question = await messageAt(conversation_id, 3);
      await send(ana, { type: "reaction", message_id: question.message_id, emoji: "❤" });
      const [, seen] = await ana.receives(2);
      assert.equal(seen!.kind, "reaction");
      assert.ok(JSON.stringify(seen!.raw).includes(theirs.split(":").at(-1)!));
    });

    test("an unknown sender starts a private conversation with the workspace, and gets the reply there", async () => {
      const stranger = hub.person(channel, "A stranger");
      await stranger.writes("are you there?");
      const contact = await until("the sender is a contact", async () => {
        return (await hub.client.contacts.list({ address: stranger.address })).data[0];
      });
      assert.equal(contact.display_name, "A stranger");
      const agent = await hub.user("agent");
      const conversation = await until("the conversation is there", async () => {
        const { data } = await agent.client.conversations.list();
        return data.find(({ members }) => members.some((member) => member.participant_id === contact.contact_id));
      });
      assert.equal(conversation.type, "private");
      assert.deepEqual(conversation.members.map((member) => member.kind).toSorted(), ["contact", "workspace"]);
      const { conversation_id } = conversation;
      const { seq } = await agent.client.messages.send({ conversation_id, payload: text("I am") });
      assert.equal(seq, 2);
      await stranger.receives(1);
      assert.deepEqual(await stranger.texts(), ["I am"]);
      await stranger.writes("good");
      await messageAt(conversation_id, 3);
    });

    // Platforms repeat a webhook whenever our 200 got lost on its way.
    test("the same webhook twice is one message", async () => {
      const ana = hub.person(channel);
      const { conversation_id } = await send(ana, text("hello"));
      await ana.receives(1);
      // Its receipts are webhooks as well, which the fault would repeat.
      await hub.settled();
      await hub.simulator.break({
        channel,
        fault: "duplicate_webhooks",
        to: ana.identifier,
        count: 1,
        delay_ms: 20,
      });
      const repeated = `once ${crypto.randomUUID()}`;
      await ana.writes(repeated);
      await ana.writes("twice?");
      await hub.settled();
      // A platform may put several events into one webhook, so events are counted, not webhooks.
      const { rows } = await hub.db.query<{ body: string }>(
        "SELECT convert_from(body, 'UTF8') AS body FROM webhooks WHERE body_size IS NULL",
      );
      assert.equal(rows.flatMap(({ body }) => body.split(repeated).slice(1)).length, 2);
      const { data } = await hub.client.conversations.messages(conversation_id, { after_seq: 1 });
      assert.deepEqual(
        data.map(({ payload }) => payload),
        [text(repeated), text("twice?")],
      );
      const hits = (await hub.simulator.faults()).filter(({ fault }) => fault === "duplicate_webhooks");
      assert.equal(hits.at(-1)!.hits, 1);
    });

    test("a webhook with a bad signature is refused with 401, and nothing of it is stored", async () => {
      await hub.settled();
      const before = await countWebhooks();
      const proved = proofs[channel]!("{}", (await account()).credentials as Record<string, string>);
      const forged = Object.fromEntries(
        Object.entries(proved).map(([name, proof]) => [
          name,
          proof.replace(/.$/, (last) => (last === "0" ? "1" : "0")),
        ]),
      );
      assert.equal(await postWebhook("{}", forged), 401);
      assert.equal(await postWebhook("{}", {}), 401);
      assert.equal(await countWebhooks(), before);
    });

    test("an unknown event gets 200 and is kept", async () => {
      await hub.settled();
      const before = await countWebhooks();
      const { credentials } = await account();
      const unknown = {
        update_id: 1,
        object: "something_new",
        entry: [{ changes: [{ field: "something", value: {} }] }],
      };
      for (const body of [JSON.stringify(unknown), "[]", "null", "not even JSON"]) {
        assert.equal(await postWebhook(body, proofs[channel]!(body, credentials as Record<string, string>)), 200);
      }
      await hub.settled();
      assert.equal(await countWebhooks(), before + 4);
    });

    if (handshake !== undefined) {
      test("the handshake succeeds only with the verify token", async () => {
        const { channelAccountId, credentials } = await account();
        const shake = (token: string) => {
          const query = new URLSearchParams({
            "hub.mode": "subscribe",
            "hub.verify_token": token,
            "hub.challenge": "1158201444",
          });
          return fetch(`${hub.url}/webhooks/${channel}/${channelAccountId}?${query}`);
        };
        const known = await shake((credentials as { verify_token: string }).verify_token);
        assert.deepEqual([known.status, await known.text()], [200, "1158201444"]);
        const unknown = await shake("guessed");
        assert.equal(unknown.status, 403);
        assert.equal((await unknown.text()).includes("1158201444"), false);
      });
    }

    test("a refused message is a dead letter at once, its lane continues, and a replay succeeds once the cause is removed", async () => {
      const ana = hub.person(channel);
      const { conversation_id } = await send(ana, text("1"));
      await ana.receives(1);
      await hub.simulator.break({ channel, fault: "permanent", to: ana.identifier, count: 1 });
      const refused = await send(ana, text("2"));
      await send(ana, text("3"));
      await ana.receives(2);
      assert.deepEqual(await ana.texts(), ["1", "3"]);

      const { deliveries } = await hub.status(refused.message_id, "failed");
      const { delivery_id, attempts, error } = deliveries[0]!;
      assert.equal(attempts, 1);
      assert.ok(error?.code && error.message);
      const { data } = await hub.client.deadLetters.list({ channel });
      assert.ok(
        data.some(
          (letter) =>
            "delivery_id" in letter && letter.delivery_id === delivery_id && letter.conversation_id === conversation_id,
        ),
      );

      assert.deepEqual(await hub.client.deadLetters.replay(delivery_id), { replayed: 1 });
      await ana.receives(3);
      assert.deepEqual(await ana.texts(), ["1", "3", "2"]);
      await hub.status(refused.message_id, capabilities.receipts.at(-1)!);
      await assert.rejects(hub.client.deadLetters.replay(delivery_id), (error: ApiError) => error.status === 404);
    });

    test("no send is retried before the platform's retry-after has passed", async () => {
      const ana = hub.person(channel);
      await hub.simulator.break({
        channel,
        fault: "rate_limit",
        to: ana.identifier,
        count: 1,
        retry_after_s: 1,
      });
      const sent = await send(ana, text("patience"));
      const [got] = await ana.receives(1);
      await hub.settled();
      const attempts = (await hub.client.messages.trace(sent.message_id)).filter(({ what }) => what === "attempt");
      assert.deepEqual(
        attempts.map(({ outcome }) => outcome),
        ["retry", "sent"],
      );
      assert.equal(got!.text, "patience");
      // Both are stamps of the hub, whose clock follows the database's and may be corrected slightly in between.
      const [refusedAt, againAt] = [attempts[0]!.finished_at, attempts[1]!.at].map((at) => Date.parse(at as string));
      assert.ok(againAt! - refusedAt! >= 950, "the platform was asked again too early");
    });

    test("sends stay within the account's rate", async () => {
      const { channelAccountId, settings } = await account();
      const slower = { ...settings, rate_per_second: 40 };
      await hub.client.channelAccounts.change(channelAccountId, { settings: slower });
      try {
        // The new rate is in force once one attempt was made under it.
        (await await send(hub.person(channel), text("first"))) && (await hub.settled());
        const people = Array.from({ length: 10 }, () => hub.person(channel));
        const start = Date.now();
        await hub.client.messages.sendBatch(
          Array.from({ length: 100 }, (_, index) => ({
            message_id: randomUUID(),
            to: people[index % 10]!.address,
            payload: text(`${index}`),
          })),
        );
        await hub.settled();
        const times = (await hub.simulator.messages({ channel }))
          .filter(({ received_at }) => Date.parse(received_at) >= start)
          .map(({ received_at }) => Date.parse(received_at));
        assert.equal(times.length, 100);
        // A second's worth may go at once, the other 60 take their time.
        // Since the request: on a busy machine the first of them is received late.
        assert.ok(times.at(-1)! - start >= 1_400, `100 messages in ${times.at(-1)! - start} ms`);
      } finally {
        await hub.client.channelAccounts.change(channelAccountId, { settings });
      }
    });

    test("a send to a person who does not exist on the platform is reported, and no message text is logged", async () => {
      const canary = `canary-${randomUUID()}`;
      const sent = await send(hub.person(channel), text(canary));
      await hub.settled();
      const trace = JSON.stringify(await hub.client.messages.trace(sent.message_id));
      const secrets = Object.values((await account()).credentials as Record<string, string>).filter((secret) =>
        /[a-z]/i.test(secret),
      );
      for (const secret of [canary, ...secrets]) {
        assert.equal(trace.includes(secret), false, "the trace contains a secret");
        assert.equal(
          hub.log.lines.some((line) => line.includes(secret)),
          false,
          "the log contains a secret",
        );
      }
    });
  });
}
