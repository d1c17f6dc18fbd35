import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import type { NewMessage, NewMessageEvent } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Listener, listen } from "./src/listener.ts";
import { startWebhookProgram, type WebhookProgram } from "./src/webhook-program.ts";

/** Programs that reply to people with nothing but the event of a message, without a further request. */
describe("a bot replies from the event alone", () => {
  let hub: TestHub;
  let program: WebhookProgram;
  let socket: Listener;

  const opened = closeAfterTests();
  before(async () => {
    program = opened.use(await startWebhookProgram());
    hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
    const { key } = await hub.admin.apiKeys.create({
      name: "bot",
      scopes: ["events:read", "messages:read", "conversations:read"],
    });
    socket = opened.use(await listen({ url: hub.url, token: key }));
    const { secret } = await hub.client.webhookEndpoints.create({
      url: program.urlOf("bot"),
      events: ["message.received"],
    });
    await program.behave("bot", secret);
  });

  type Event = Pick<NewMessageEvent, "content" | "direction"> & Record<string, unknown>;
  const isFrom = (words: string) => (event: Record<string, unknown>) =>
    event.content === words && event.direction === "inbound";

  /** The ways to receive the event of a message. */
  const ways: Record<string, (words: string) => Promise<unknown>> = {
    "a webhook": async (words) => {
      const received = await program.has("bot", words, (all) => all.some(({ data }) => isFrom(words)(data)));
      return received.find(({ data }) => isFrom(words)(data))!.data;
    },
    "a page of the feed": (words) =>
      until(
        words,
        async () => (await hub.client.events.list({ limit: 200 })).data.find((one) => isFrom(words)(one)) ?? false,
      ),
    "a socket": (words) => socket.frame(words, isFrom(words)),
  };

  function answerTo(said: NewMessageEvent): NewMessage {
    const { conversation_id, message_id, channel, channel_account_id, sender_name, address } = said;
    return {
      conversation_id,
      reply_to: message_id,
      channels: [channel!],
      via: { [channel!]: channel_account_id! },
      payload: { type: "text", text: `${sender_name} wrote “${said.content}” from ${address}` },
    };
  }

  for (const channel of ["whatsapp", "telegram"]) {
    for (const [way, receive] of Object.entries(ways)) {
      test(`${channel}, by ${way}`, async () => {
        const ana = hub.person(channel, "Ana");
        const words = `Hello ${channel} ${way}`;
        const id = await ana.writes(words);
        const said = (await receive(words)) as NewMessageEvent & Event;
        const account = await hub.account(channel);
        assert.ok(said.provider_message_id!.endsWith(id), said.provider_message_id!);
        assert.equal(said.channel_account_id, account.channel_account_id);
        assert.equal(said.conversation_type, "private");
        assert.ok(Math.abs(Date.parse(said.sent_at!) - Date.now()) < 600_000, said.sent_at!);
        const { message_id } = await hub.client.messages.send(answerTo(said));
        const [answer] = await ana.receives(1);
        // The person has the message before the hub has recorded its delivery.
        const sent = await until("the reply is sent", async () => {
          const { deliveries } = await hub.client.messages.get(message_id);
          return deliveries[0]?.provider_message_id ?? false;
        });
        assert.ok(sent.endsWith(answer!.provider_message_id), sent);
        assert.equal(answer!.text, `Ana wrote “${words}” from ${ana.address}`);
        assert.ok(JSON.stringify(answer!.raw).includes(id.split(":").at(-1)!), "it quotes what she wrote");

        await ana.writes(`Thanks, ${channel} ${way}`, { replyTo: answer!.provider_message_id });
        const thanks = (await receive(`Thanks, ${channel} ${way}`)) as NewMessageEvent & Event;
        assert.equal(thanks.route, "quoted");
        assert.equal(thanks.reply_to, message_id);
      });
    }
  }

  test("the bot of the guide replies once, even if it gets the event of a message several times", async () => {
    const guide = readFileSync(new URL("../docs/guides/webhook-endpoints.md", import.meta.url), "utf8");
    const [code] = /async function handle[\s\S]*?\n}\n/.exec(guide.split("## A bot that replies")[1]!)!;
    const { key } = await hub.admin.apiKeys.create({ name: "guide", scopes: ["messages:write"] });
    Object.assign(process.env, { HUB: hub.url, KEY: key });
    const { handle } = await import(`data:text/javascript,${encodeURIComponent(`${code} export { handle };`)}`);
    const ben = hub.person("telegram", "Ben");
    await ben.writes("guide");
    const event = { type: "message.received", data: await ways["a webhook"]!("guide") };
    await handle(event);
    await handle(event);
    await hub.settled();
    assert.deepEqual(await ben.texts(), ["Ben, you wrote: guide"]);
  });
});
