/** When the hub returns 204 for a read mark or typing, the person on the platform sees it. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { listen } from "./src/listener.ts";
import { openOwner } from "./src/owned-rows.ts";
import type { Person } from "./src/people.ts";

describe("read marks and typing on platforms", () => {
  let hub: TestHub;
  const opened = closeAfterTests();
  before(async () => {
    hub = opened.use(await startTestHub({ env: { DELIVERY_TIMEOUT: "10s" } }));
  });

  const readMarks = async (person: Person) =>
    (await hub.simulator.signals({ channel: person.channel, to: person.identifier }))
      .filter(({ kind }) => kind === "read")
      .map(({ provider_message_id }) => provider_message_id);
  const typing = async (person: Person) =>
    (await hub.simulator.signals({ channel: person.channel, to: person.identifier })).filter(
      ({ kind }) => kind === "typing",
    ).length;

  /** Until it is disposed, no read mark is retried, so that the platform gets only those that are sent at once. */
  async function withoutRetries(): Promise<AsyncDisposable> {
    const owner = await openOwner(hub.databaseUrl);
    await owner.all(
      `CREATE FUNCTION never_due() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN NEW.due_at := 'infinity'; RETURN NEW; END $$;
       CREATE TRIGGER never_due BEFORE INSERT OR UPDATE ON read_marks FOR EACH ROW EXECUTE FUNCTION never_due()`,
    );
    return {
      async [Symbol.asyncDispose]() {
        await owner.all("DROP FUNCTION never_due CASCADE");
        await owner[Symbol.asyncDispose]();
      },
    };
  }

  /** The person's messages, oldest first, and their conversation. */
  async function writes(person: Person, ...words: string[]) {
    const ids: string[] = [];
    for (const word of words) ids.push(await person.writes(word));
    await hub.settled();
    const contacts = await hub.client.contacts.list({ address: person.address });
    const { data } = await hub.client.conversations.list({ contact_id: contacts.data[0]!.contact_id });
    return { ids, conversationId: data[0]!.conversation_id };
  }

  test("reading marks the messages on WhatsApp once, and no later ones", async () => {
    const ana = hub.person("whatsapp");
    const { ids, conversationId } = await writes(ana, "1", "2", "3");
    assert.equal(await hub.client.conversations.read(conversationId, 2), null);
    assert.deepEqual(await readMarks(ana), [ids[1]]);
    // A second user, or reading again, sends the platform nothing.
    const agent = await hub.user("agent");
    await agent.client.conversations.read(conversationId, 2);
    await hub.client.conversations.read(conversationId, 1);
    assert.deepEqual(await readMarks(ana), [ids[1]]);
    await hub.client.conversations.read(conversationId, 3);
    assert.deepEqual(await readMarks(ana), [ids[1], ids[2]]);
  });

  test("no read mark is sent for a user who has read less than another", async () => {
    const ana = hub.person("whatsapp");
    await ana.writes("oi");
    await hub.settled();
    const [first, second] = [await hub.user("agent"), await hub.user("agent")];
    const { conversation_id } = await hub.group([ana, first.user_id, second.user_id]);
    await hub.client.messages.send({ conversation_id, payload: { type: "text", text: "How can we help?" } });
    await hub.settled();
    const ids = [await ana.writes("1"), await ana.writes("2")];
    await hub.settled();
    // The question, and her two replies.
    await first.client.conversations.read(conversation_id, 3);
    assert.deepEqual(await readMarks(ana), [ids[1]]);
    await second.client.conversations.read(conversation_id, 2);
    assert.deepEqual(await readMarks(ana), [ids[1]]);
    assert.equal(await second.client.conversations.read(conversation_id, 3), null);
    assert.deepEqual(await readMarks(ana), [ids[1]]);
  });

  test("reading over a socket marks the messages too", async () => {
    const ana = hub.person("whatsapp");
    const { ids, conversationId } = await writes(ana, "oi");
    await using _never = await withoutRetries();
    await using socket = await listen({ url: hub.url, token: (await hub.logIn("admin")).access_token });
    socket.say({ type: "read", conversation_id: conversationId, seq: 1 });
    await until("the platform has the read mark", async () => (await readMarks(ana)).length === 1);
    assert.deepEqual(await readMarks(ana), ids);
  });

  test("a read mark that fails is retried, and the response is 202", async () => {
    const ana = hub.person("whatsapp");
    const { ids, conversationId } = await writes(ana, "oi");
    await hub.simulator.break({ channel: "whatsapp", fault: "down" });
    const answer = await hub.client.conversations.read(conversationId, 1);
    const [missed] = answer?.not_shown ?? [];
    assert.partialDeepStrictEqual(missed, { channel: "whatsapp", is_retried: true });
    await hub.simulator.repair();
    await until("the platform has the read mark", async () => (await readMarks(ana)).length === 1);
    assert.deepEqual(await readMarks(ana), ids);
    assert.equal(await hub.client.conversations.read(conversationId, 1), null);
  });

  test("typing is shown where the next message would go, on WhatsApp together with a read mark", async () => {
    const [ana, davi, eva] = [hub.person("whatsapp"), hub.person("telegram"), hub.person("whatsapp")];
    await ana.writes("oi");
    await hub.settled();
    const agent = await hub.user("agent");
    const { conversation_id } = await hub.group([ana, davi, agent.user_id]);
    assert.equal(await agent.client.conversations.typing(conversation_id), null);
    assert.deepEqual([await typing(ana), await typing(davi)], [1, 1]);
    // Clients send it with every key; the platform gets it once in a few seconds.
    for (let i = 0; i < 5; i += 1) await agent.client.conversations.typing(conversation_id);
    assert.deepEqual([await typing(ana), await typing(davi)], [1, 1]);

    const silent = await hub.group([eva, davi, agent.user_id]);
    const answer = await agent.client.conversations.typing(silent.conversation_id);
    const expected = [{ channel: "whatsapp", code: "NOTHING_TO_ANSWER", is_retried: false }];
    assert.partialDeepStrictEqual(answer?.not_shown, expected);
    assert.equal(await typing(davi), 2);
  });

  // Users may have addresses on platforms too, and are not shown their own typing.
  test("two users who type at the same time see each other typing", async () => {
    const [bea, caio] = [await hub.user("agent", "Bea"), await hub.user("agent", "Caio")];
    const phones = [hub.person("telegram"), hub.person("telegram")] as const;
    for (const [index, user] of [bea, caio].entries()) {
      await phones[index]!.writes("/start");
      await hub.settled();
      const { data } = await hub.client.contacts.list({ address: phones[index]!.address });
      await hub.client.contacts.remove(data[0]!.contact_id);
      await hub.admin.users.addAddress(user.user_id, phones[index]!.address);
    }
    const { conversation_id } = await hub.group([bea.user_id, caio.user_id, hub.person("telegram")]);
    assert.equal(await bea.client.conversations.typing(conversation_id), null);
    assert.deepEqual([await typing(phones[0]), await typing(phones[1])], [0, 1]);
    assert.equal(await caio.client.conversations.typing(conversation_id), null);
    assert.deepEqual([await typing(phones[0]), await typing(phones[1])], [1, 1]);
  });

  test("an account with refused credentials sends no read marks until it is repaired", async () => {
    const ana = hub.person("whatsapp");
    const { ids, conversationId } = await writes(ana, "oi");
    const { channel_account_id: id } = await hub.account("whatsapp");
    const credentials = { access_token: "EAAa-new-token" };
    await hub.simulator.changeAccount("whatsapp", credentials);
    const typed = await hub.client.conversations.typing(conversationId);
    assert.partialDeepStrictEqual(typed?.not_shown, [{ code: "CHANNEL_ACCOUNT_NEEDS_ATTENTION", is_retried: false }]);
    assert.equal((await hub.client.channelAccounts.get(id)).status, "needs_attention");
    const read = await hub.client.conversations.read(conversationId, 1);
    assert.partialDeepStrictEqual(read?.not_shown, [{ code: "CHANNEL_ACCOUNT_NEEDS_ATTENTION", is_retried: true }]);
    await hub.client.channelAccounts.change(id, { credentials });
    await until("the platform has the read mark", async () => (await readMarks(ana)).length === 1);
    assert.deepEqual(await readMarks(ana), ids);
  });

  test("capabilities list what each channel shows", async () => {
    const { conversation_id } = await hub.group([
      hub.person("whatsapp"),
      hub.person("telegram"),
      hub.person("telegram"),
    ]);
    type Shown = { members: { channels: { channel: string; typing: string; read_marks: boolean }[] }[] };
    const { members } = (await hub.client.conversations.capabilities(conversation_id)) as Shown;
    const shown = members
      .flatMap(({ channels }) => channels)
      .map(({ channel, typing, read_marks }) => [channel, typing, read_marks]);
    assert.deepEqual(shown.toSorted(), [
      ["telegram", "always", false],
      ["telegram", "always", false],
      ["whatsapp", "answer", true],
    ]);
  });
});
