import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { ApiError, type Client, type Conversation, type Preflight } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";
import { firstWorkspace, newUser, text, type Workspace } from "./src/workspace.ts";

/**
 * A member reaches people only in its own conversations. It can neither find out who the customers are, nor write to
 * them, nor divert their replies into its own conversation.
 */
describe("what a member can reach", () => {
  let hub: TestHub;
  let workspace: Workspace;
  /** A customer who has written to the business, with her contact and conversation. */
  let ana: Person;
  let anasId: string;
  let home: Conversation;
  /** A group of the member, the agent and Ana. */
  let group: Conversation;
  const secondAddress = "telegram:777000111";

  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub());
    workspace = await firstWorkspace(hub);
    ana = hub.person("whatsapp", "Ana");
    await ana.writes("Hello, it is me");
    home = await until("Ana's message has arrived", async () => {
      const { data } = await hub.admin.conversations.list();
      return data.find(({ last_seq }) => last_seq > 0);
    });
    anasId = home.members.find(({ kind }) => kind === "contact")!.participant_id;
    await hub.admin.call("POST", `/v1/contacts/${anasId}/addresses`, { body: { address: secondAddress } });
  });

  /** Waits until the last message of a conversation has these words. */
  function arrived({ conversation_id }: Conversation, words: string) {
    return until(`“${words}” is in the conversation`, async () => {
      const { data } = await hub.admin.conversations.messages(conversation_id, { limit: 5 });
      return data.some(({ payload }) => payload.type === "text" && payload.text === words);
    });
  }

  const callers = {
    "with a session": async () => workspace.outsider.client,
    "with an API key": async () => {
      const { key } = await workspace.outsider.client.apiKeys.create({ name: "Of a member", scopes: ["*"] });
      return hub.clientFor(key);
    },
  };

  for (const [how, log] of Object.entries(callers)) {
    describe(`a member ${how} and without a conversation`, () => {
      let client: Client;
      let own: string;
      let colleague: string;
      before(async () => {
        client = await log();
        own = workspace.outsider.userId;
        colleague = workspace.member.userId;
      });

      /** Requests about a known and an unknown person must get the same response. */
      async function refusedAlike(method: string, path: string, bodyFor: (who: string) => unknown, whom: string[]) {
        const answers = await Promise.all(
          whom.map(async (who) => {
            const error = await refused(() => client.call(method, path, { body: bodyFor(who) }));
            return {
              status: error.status,
              code: error.code,
              details: JSON.stringify(error.details).replaceAll(who, "…"),
            };
          }),
        );
        for (const answer of answers) assert.deepEqual(answer, answers[0]);
        assert.equal(answers[0]!.status, 403);
      }

      const addresses = () => [ana.address, secondAddress, "whatsapp:+5511900000001"];

      test("cannot send to a contact's address, nor learn whether the contact exists", () =>
        refusedAlike("POST", "/v1/messages", (to) => ({ to, payload: text("Hi") }), addresses()));

      test("cannot preflight such a message", () =>
        refusedAlike("POST", "/v1/messages/preflight", (to) => ({ to, payload: text("Hi") }), addresses()));

      test("cannot send such a message in a batch", async () => {
        const results = await client.messages.sendBatch(addresses().map((to) => ({ to, payload: text("Hi") })));
        assert.deepEqual(
          results.map(({ error }) => error?.code),
          ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN"],
        );
      });

      test("cannot create a conversation with a contact, by address or by id", async () => {
        const withOne = (member: unknown) => ({ type: "private", members: [own, member] });
        await refusedAlike("POST", "/v1/conversations", (address) => withOne({ address }), addresses());
        await refusedAlike("POST", "/v1/conversations", withOne, [anasId, randomUUID()]);
        const withTwo = (member: unknown) => ({ type: "group", members: [own, colleague, member] });
        await refusedAlike("POST", "/v1/conversations", withTwo, [anasId, randomUUID()]);
      });

      test("cannot add a contact to its own group", async () => {
        const third = await newUser(hub, workspace.admin, "member");
        const { conversation_id } = await client.conversations.create({
          type: "group",
          members: [own, colleague, third.userId],
        });
        const path = `/v1/conversations/${conversation_id}/members`;
        await refusedAlike("POST", path, (address) => ({ member: { address } }), addresses());
        await refusedAlike("POST", path, (member) => ({ member }), [anasId, randomUUID()]);
      });

      test("cannot send as another user, nor quote or read messages of other conversations", async () => {
        const { data } = await hub.admin.conversations.messages(home.conversation_id);
        const { conversation_id } = await client.conversations.create({ type: "private", members: [own, colleague] });
        const said = { conversation_id, payload: text("Hi") };
        assert.equal((await refused(() => client.messages.send({ ...said, from: anasId }))).code, "FORBIDDEN");
        const account = await hub.account("whatsapp");
        const via = { whatsapp: account.channel_account_id };
        assert.equal((await refused(() => client.messages.send({ ...said, via }))).code, "FORBIDDEN");
        const quotes = await Promise.all(
          [data[0]!.message_id, randomUUID()].map((reply_to) =>
            refused(() => client.messages.send({ ...said, reply_to })),
          ),
        );
        assert.equal(quotes[0]!.message, quotes[1]!.message);
        for (const path of [
          `/v1/conversations/${home.conversation_id}`,
          `/v1/conversations/${home.conversation_id}/capabilities`,
          `/v1/messages/${data[0]!.message_id}`,
        ]) {
          assert.equal((await refused(() => client.call("GET", path))).status, 404);
        }
        for (const path of ["/v1/dead-letters", `/v1/messages/${data[0]!.message_id}/trace`, "/v1/contacts"]) {
          assert.equal((await refused(() => client.call("GET", path))).status, 403);
        }
        assert.doesNotMatch(JSON.stringify(await everyEvent(client)), new RegExp(anasId));
      });

      test("can write to colleagues, in conversations and by their addresses", async () => {
        const address = `telegram:${Math.floor(Math.random() * 1e9)}`;
        await hub.admin.users.addAddress(colleague, address);
        const sent = await client.messages.send({ to: address, payload: text("Hi, colleague") });
        const { members } = await client.conversations.get(sent.conversation_id);
        const shown = members.find(({ participant_id }) => participant_id === colleague)!;
        assert.deepEqual([shown.addresses, shown.channels.includes("telegram")], [[], true]);
      });

      test("cannot change where the customer's next message goes", async () => {
        const words = `Still here? ${randomUUID()}`;
        await ana.writes(words);
        await arrived(home, words);
        const contacts = await hub.admin.contacts.list();
        assert.equal(contacts.data.length, 1, "refused requests create no contact");
      });
    });
  }

  describe("a member who shares a group with a contact", () => {
    let client: Client;
    let own: string;
    before(async () => {
      const { member, agent } = workspace;
      client = member.client;
      own = member.userId;
      group = await agent.client.conversations.create({ type: "group", members: [agent.userId, own, anasId] });
    });

    test("sees the contact's name and channels, and no address in any response", async () => {
      const { conversation_id } = group;
      const sent = await client.messages.send({ conversation_id, payload: text("Hi, Ana") });
      await hub.settled();
      await ana.writes("Hi, all");
      await arrived(group, "Hi, all");
      await hub.settled();
      const shown = (await client.conversations.get(conversation_id)).members.find(
        ({ participant_id }) => participant_id === anasId,
      )!;
      assert.deepEqual([shown.display_name, shown.addresses, shown.channels], ["Ana", [], ["whatsapp", "telegram"]]);
      const message = await client.messages.get(sent.message_id);
      const delivery = message.deliveries.find(({ recipient }) => recipient === anasId)!;
      assert.deepEqual(
        [delivery.channel, delivery.address, delivery.provider_message_id, delivery.provider_message_ids],
        ["whatsapp", null, null, []],
      );
      const preflight = { conversation_id, payload: text("Hi") };
      const everything = [
        await client.conversations.list(),
        await client.conversations.change(conversation_id, { title: "Ours" }),
        await client.conversations.capabilities(conversation_id),
        await client.conversations.messages(conversation_id),
        message,
        await client.messages.events(sent.message_id),
        (await client.call("POST", "/v1/messages/preflight", { body: preflight })).body,
        await everyEvent(client),
        await everyFrame(client),
      ];
      for (const [index, one] of everything.entries()) {
        for (const secret of [
          ana.identifier,
          ana.identifier.slice(1),
          "777000111",
          await providerId(sent.message_id),
        ]) {
          assert.equal(JSON.stringify(one).includes(secret), false, `response ${index} shows ${secret}`);
        }
      }
    });

    // It says when the person last wrote, also in conversations of others.
    test("sees that a contact's window is open, and not when it closes", async () => {
      const { conversation_id } = group;
      const windowsFor = async (by: Client) => {
        const { members } = await by.conversations.capabilities(conversation_id);
        const body = { conversation_id, payload: text("Hi") };
        const { recipients } = (await by.call<Preflight>("POST", "/v1/messages/preflight", { body })).body;
        const isAna = ({ participant_id }: { participant_id: string | null }) => participant_id === anasId;
        const { channels } = members.find(isAna)!;
        return [channels.find(({ channel }) => channel === "whatsapp")!.window, recipients.find(isAna)!.window];
      };
      const hidden = { state: "open", closes_at: null };
      assert.deepEqual(await windowsFor(client), [hidden, hidden]);
      for (const { state, closes_at } of await windowsFor(workspace.agent.client)) {
        assert.deepEqual([state, Date.parse(closes_at!) > Date.now()], ["open", true]);
      }
    });

    test("an agent and an admin see the addresses", async () => {
      const members = (await workspace.agent.client.conversations.get(group.conversation_id)).members;
      const shown = members.find(({ participant_id }) => participant_id === anasId)!;
      for (const address of [ana.address, secondAddress]) assert.ok(shown.addresses.includes(address));
    });

    test("cannot take the contact from the group into its own conversation", async () => {
      const alone = { type: "private" as const, members: [own, anasId] };
      assert.equal((await refused(() => client.conversations.create(alone))).code, "FORBIDDEN");
      const elsewhere = { to: ana.address, payload: text("Psst") };
      assert.equal((await refused(() => client.messages.send(elsewhere))).code, "FORBIDDEN");
      const words = `In the group ${randomUUID()}`;
      await ana.writes(words);
      await arrived(group, words);
    });
  });

  async function providerId(messageId: string): Promise<string> {
    const { deliveries } = await hub.admin.messages.get(messageId);
    return deliveries.find(({ channel }) => channel === "whatsapp")!.provider_message_id!;
  }

  async function everyEvent(client: Client): Promise<unknown[]> {
    const frames: unknown[] = [];
    for (let after: string | undefined; ; ) {
      const page = await client.events.list({ limit: 200, ...(after ? { after } : {}) });
      frames.push(...page.data);
      if (page.next_cursor === after) return frames;
      after = page.next_cursor;
    }
  }

  /** All past frames of a socket, and the live ones after them. */
  async function everyFrame(client: Client): Promise<unknown[]> {
    const cursor = (await client.events.list({ limit: 1 })).next_cursor;
    const connection = client.realtime.connect({ cursor });
    const frames: unknown[] = [];
    const words = `The end ${randomUUID()}`;
    await hub.admin.conversations.change(group.conversation_id, { title: words });
    for await (const frame of connection) {
      frames.push(frame);
      if (JSON.stringify(frame).includes(words)) break;
    }
    connection.close();
    return frames;
  }
});

async function refused(call: () => Promise<unknown>): Promise<ApiError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "It was not refused." });
}
