import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { before, describe, test } from "node:test";
import type { ChannelAccountId } from "../server/src/lib/ids.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

/**
 * Platforms resend a webhook that they assume lost, even while the first one is being read, and to any process. That
 * is normal, so nothing may be logged as a problem.
 */
describe("the same webhook many times at once, over two hubs", () => {
  const times = 20;
  let hub: TestHub;
  let other: TestHub;
  const credentials: Record<string, Record<string, string>> = {};
  const accounts: Record<string, ChannelAccountId> = {};

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    const env = { DATABASE_URL: hub.databaseUrl, SIMULATOR_URL: hub.simulator.url };
    other = opened.use(await startTestHub({ env }));
    await hub.simulator.settings("whatsapp", { auto_receipts: false });
    for (const channel of ["whatsapp", "telegram"]) {
      accounts[channel] = (await hub.account(channel)).channel_account_id as ChannelAccountId;
      credentials[channel] = (await hub.hub.context.accounts.get(accounts[channel]))!.credentials as Record<
        string,
        string
      >;
    }
  });

  /** Posts to both hubs by turns, all at once over separate connections, and waits until everything is settled. */
  async function post(channel: string, ...bodies: object[]): Promise<void> {
    const texts = bodies.map((body) => JSON.stringify(body));
    const answers = await Promise.all(
      Array.from({ length: times }, (_, turn) => {
        const body = texts[turn % texts.length]!;
        const url = turn % 4 < 2 ? hub.url : other.url;
        const headers = { "content-type": "application/json", connection: "close", ...proofOf(channel, body) };
        return fetch(`${url}/webhooks/${channel}/${accounts[channel]}`, { method: "POST", headers, body });
      }),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    await hub.settled();
  }

  function proofOf(channel: string, body: string): Record<string, string> {
    const { app_secret, secret_token } = credentials[channel]!;
    if (channel === "telegram") return { "x-telegram-bot-api-secret-token": secret_token! };
    return { "x-hub-signature-256": `sha256=${createHmac("sha256", app_secret!).update(body).digest("hex")}` };
  }

  /** Log lines since the last call at level `warn` or above, or with a stack at any level. */
  function complaints(): string[] {
    return [hub, other].flatMap(({ log }) =>
      log.lines
        .splice(0)
        .filter((line) => (JSON.parse(line) as { level: number }).level >= 40 || line.includes('"stack"')),
    );
  }

  async function errorsNoted(): Promise<unknown[]> {
    return (await hub.db.query("SELECT error FROM webhooks WHERE error IS NOT NULL")).rows;
  }

  const whatsapp = (of: object) => ({
    object: "whatsapp_business_account",
    entry: [
      {
        id: "419561257915477",
        changes: [
          {
            field: "messages",
            value: {
              messaging_product: "whatsapp",
              metadata: {
                display_phone_number: "15550783881",
                phone_number_id: credentials.whatsapp!.phone_number_id,
              },
              contacts: [{ profile: { name: "Ana" }, wa_id: "5511999990001" }],
              ...of,
            },
          },
        ],
      },
    ],
  });
  const fromAna = (id: string, message: object) =>
    whatsapp({ messages: [{ from: "5511999990001", id, timestamp: "1763640000", ...message }] });
  const ben = { id: 555001, is_bot: false, first_name: "Ben" };
  const toBot = { chat: { ...ben, type: "private" }, date: 1_763_640_000 };

  async function inbound(address: string) {
    const contact = (await hub.client.contacts.list({ address })).data[0]!;
    const { data } = await hub.client.conversations.list({ contact_id: contact.contact_id });
    assert.equal(data.length, 1);
    return (await hub.client.conversations.messages(data[0]!.conversation_id, { limit: 200 })).data.filter(
      ({ direction }) => direction === "inbound",
    );
  }

  test("a message of an unknown person is stored once, and no problem is logged", async () => {
    complaints();
    await post("whatsapp", fromAna("wamid.1", { type: "text", text: { body: "oi" } }));
    await post("telegram", { update_id: 1, message: { message_id: 17, from: ben, ...toBot, text: "oi" } });
    assert.deepEqual(complaints(), []);
    assert.deepEqual(await errorsNoted(), []);
    for (const address of ["whatsapp:+5511999990001", "telegram:555001"]) {
      assert.deepEqual(
        (await inbound(address)).map(({ payload }) => payload),
        [{ type: "text", text: "oi" }],
      );
    }
  });

  test("two messages, a quote, a reaction and an edit are stored once", async () => {
    await post(
      "whatsapp",
      fromAna("wamid.2", { type: "text", text: { body: "2" } }),
      fromAna("wamid.3", { type: "text", text: { body: "3" }, context: { id: "wamid.1" } }),
    );
    await post(
      "whatsapp",
      fromAna("wamid.4", { type: "reaction", reaction: { message_id: "wamid.1", emoji: "👍" } }),
      fromAna("wamid.5", { type: "reaction", reaction: { message_id: "wamid.2", emoji: "👍" } }),
    );
    const edit = (body: string) => ({
      type: "edit",
      edit: { original_message_id: "wamid.1", message: { type: "text", text: { body } } },
    });
    await post("whatsapp", fromAna("wamid.6", edit("new")), fromAna("wamid.7", edit("newer")));
    const reaction = (emoji: string, update_id: number) => ({
      update_id,
      message_reaction: {
        ...toBot,
        message_id: 17,
        user: ben,
        old_reaction: [],
        new_reaction: [{ type: "emoji", emoji }],
      },
    });
    await post("telegram", reaction("👍", 2), reaction("👎", 3));
    const edited = (text: string, update_id: number) => ({
      update_id,
      edited_message: { message_id: 17, from: ben, ...toBot, edit_date: 1_763_640_060, text },
    });
    await post("telegram", edited("new", 4), edited("newer", 5));
    assert.deepEqual(complaints(), []);
    assert.deepEqual(await errorsNoted(), []);
    assert.equal((await inbound("whatsapp:+5511999990001")).length, 5);
    assert.equal((await inbound("telegram:555001")).length, 3);
  });

  test("receipts are stored once, in any order", async () => {
    const ana = hub.person("whatsapp");
    const { message_id } = await hub.client.messages.send({
      to: ana.address,
      payload: { type: "text", text: "how far?" },
    });
    const { deliveries } = await hub.status(message_id, "sent");
    complaints();
    const receipt = (status: string, timestamp: string) =>
      whatsapp({
        statuses: [
          {
            id: deliveries[0]!.provider_message_id,
            status,
            timestamp,
            recipient_id: ana.identifier.slice(1),
            biz_opaque_callback_data: deliveries[0]!.delivery_id,
          },
        ],
      });
    await post("whatsapp", receipt("delivered", "1763640002"));
    await post(
      "whatsapp",
      receipt("read", "1763640003"),
      receipt("delivered", "1763640002"),
      receipt("sent", "1763640001"),
    );
    await until("it is read", async () => (await hub.client.messages.get(message_id)).status === "read");
    assert.deepEqual(complaints(), []);
    const statuses = (await hub.client.messages.events(message_id)).map(({ status }) => status);
    assert.deepEqual(new Set(statuses).size, statuses.length - 1, "each once, and `accepted` for its routing as well");
  });

  test("messages that cannot be accepted are logged in one line for each webhook, with a reason and without a stack", async () => {
    complaints();
    const reaction = { message_id: "wamid.none", emoji: "👍" };
    const common = { from: "5511999990001", timestamp: "1763640000", type: "reaction", reaction };
    await post("whatsapp", whatsapp({ messages: ["wamid.8", "wamid.9"].map((id) => ({ id, ...common })) }));
    const said = complaints();
    // A webhook is read, and logged, again when its partition gets another owner meanwhile.
    const lines = new Map(said.map((line) => [(JSON.parse(line) as { webhook_id?: string }).webhook_id, line]));
    assert.equal(lines.size, times);
    for (const line of said) {
      assert.doesNotMatch(line, /"stack"/);
      assert.match(line, /"webhook_id".*The reaction is to a message that is not in this conversation.*"count":2\b/);
    }
  });
});
