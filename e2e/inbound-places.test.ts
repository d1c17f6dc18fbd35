import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import type { Client, Conversation, Message } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";
import { text } from "./src/workspace.ts";

let hub: TestHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
});

/** Writes a message as the person, and returns where it landed. */
async function lands(person: Person, options: { replyTo?: string } = {}): Promise<Message> {
  const words = randomUUID();
  await person.writes(words, options);
  return until("the message has landed", async () => {
    const { data: conversations } = await hub.client.conversations.list();
    const pages = await Promise.all(
      conversations.map(({ conversation_id }) => hub.client.conversations.messages(conversation_id, { limit: 10 })),
    );
    return pages.flatMap(({ data }) => data).find(({ payload }) => payload.type === "text" && payload.text === words);
  });
}

async function groupOf(person: Person, inbound?: "here" | "quoted"): Promise<Conversation> {
  const others = await Promise.all([hub.user("agent"), hub.user("agent")]);
  const member = { address: person.address, display_name: person.name };
  const members = [...others.map(({ user_id }) => user_id), member];
  return hub.client.conversations.create({ type: "group", members, ...(inbound && { inbound }) });
}

async function says({ conversation_id }: Pick<Conversation, "conversation_id">, words: string) {
  await hub.client.messages.send({ conversation_id, payload: text(words) });
  await hub.settled();
}

const where = ({ conversation_id, route }: Message) => [conversation_id, route];

async function quoting(person: Person): Promise<{ replyTo: string }> {
  return { replyTo: (await person.received()).at(-1)!.provider_message_id };
}

test("an unquoted message goes to the conversation that last addressed the person, and its route says so", async () => {
  const ana = hub.person("whatsapp", "Ana");
  const first = await lands(ana);
  assert.equal(first.route, "private");
  const group = await groupOf(ana);
  assert.equal(group.inbound, "here");
  await says(group, "Hello, group");
  const second = await lands(ana);
  assert.deepEqual(where(second), [group.conversation_id, "last_used"]);
  const trace = await hub.client.messages.trace(second.message_id);
  assert.equal(trace.find(({ what }) => what === "accepted")?.route, "last_used");
  await says(first, "Back to the two of us");
  assert.deepEqual(where(await lands(ana)), [first.conversation_id, "last_used"]);
});

test("a message to a person's address continues the conversation in which the person wrote last", async () => {
  const zed = hub.person("whatsapp", "Zed");
  const write = async (client: Client) => {
    const { conversation_id } = await client.messages.send({ to: zed.address, payload: text("Hello") });
    await hub.settled();
    return conversation_id;
  };
  const [byUser, byKey] = [await write(hub.admin), await write(hub.client)];
  assert.notEqual(byKey, byUser);
  const asked = await lands(zed);
  assert.deepEqual(where(asked), [byKey, "last_used"]);
  assert.equal(await write(hub.admin), byKey);
});

test("a group with inbound: quoted gets only messages that quote it", async () => {
  const bea = hub.person("whatsapp", "Bea");
  const home = await lands(bea);
  const group = await groupOf(bea, "quoted");
  assert.equal(group.inbound, "quoted");
  await says(group, "Who can help Bea?");
  assert.deepEqual(where(await lands(bea)), [home.conversation_id, "last_used"]);
  const quote = await quoting(bea);
  assert.deepEqual(where(await lands(bea, quote)), [group.conversation_id, "quoted"]);
  assert.deepEqual(where(await lands(bea)), [home.conversation_id, "last_used"], "not where the quote went");
});

test("a change of inbound takes effect at once, in both directions", async () => {
  const cai = hub.person("telegram", "Cai");
  const group = await groupOf(cai);
  await says(group, "Hi");
  assert.deepEqual(where(await lands(cai)), [group.conversation_id, "last_used"]);
  const changed = await hub.client.conversations.change(group.conversation_id, { inbound: "quoted" });
  assert.deepEqual([changed.inbound, changed.settings], ["quoted", { author_prefix: true }]);
  const elsewhere = await lands(cai);
  assert.notEqual(elsewhere.conversation_id, group.conversation_id);
  assert.equal(elsewhere.route, "private");
  await hub.client.conversations.change(group.conversation_id, { inbound: "here" });
  await says(group, "All of it, please");
  assert.deepEqual(where(await lands(cai)), [group.conversation_id, "last_used"]);
});

test("outbound messages have no route, and private conversations no inbound", async () => {
  const dora = hub.person("telegram", "Dora");
  const sent = await hub.client.messages.send({ to: dora.address, payload: text("Hi") });
  assert.equal((await hub.client.messages.get(sent.message_id)).route, null);
  const { inbound } = await hub.client.conversations.get(sent.conversation_id);
  assert.equal(inbound, null);
  const change = hub.client.conversations.change(sent.conversation_id, { inbound: "quoted" });
  await assert.rejects(change, { code: "VALIDATION_ERROR" });
});

test("a member cannot change the conversation of a contact's messages", async () => {
  const eva = hub.person("telegram", "Eva");
  const member = await hub.user("member");
  const agent = await hub.user("agent");
  const members = [member.user_id, agent.user_id, { address: eva.address }];
  const { conversation_id } = await hub.client.conversations.create({ type: "group", members, inbound: "quoted" });
  const change = member.client.conversations.change(conversation_id, { inbound: "here" });
  await assert.rejects(change, { code: "FORBIDDEN" });
});

// Two private conversations of the same two would otherwise split what is said from then on.
test("after a merge, an address, the members and an inbound message all lead to the same private conversation", async () => {
  const { admin, client } = hub;
  const [old, kept] = [hub.person("whatsapp", "Fay (old)"), hub.person("telegram", "Fay")];
  const [first, second] = [await lands(old), await lands(kept)];
  assert.notEqual(first.conversation_id, second.conversation_id);
  const rep = await hub.user("agent");
  const between = async (contact: string) =>
    (await rep.client.conversations.create({ type: "private", members: [rep.user_id, contact] })).conversation_id;
  const [repOld, repKept] = [await between(first.from), await between(second.from)];
  await client.messages.send({ conversation_id: repOld, from: rep.user_id, payload: text("It is me") });
  await hub.settled();
  const quote = await quoting(old);

  await admin.contacts.merge(first.from, second.from);
  assert.equal(await between(second.from), repKept);
  assert.deepEqual(where(await lands(old)), [repKept, "last_used"], "the person replies in the one that is used");
  assert.deepEqual(where(await lands(old, quote)), [repOld, "quoted"], "a quote lands where its message is");
  assert.deepEqual(where(await lands(old)), [repKept, "last_used"], "and moves nothing");
  for (const { address } of [old, kept]) {
    const { conversation_id } = await client.messages.send({ to: address, payload: text("Hi") });
    assert.equal(conversation_id, second.conversation_id);
  }
  await hub.settled();
  assert.deepEqual(where(await lands(old)), [second.conversation_id, "last_used"]);

  const shown = async (id: string) => (await client.conversations.get(id)).continued_in;
  const ids = [first.conversation_id, second.conversation_id, repOld, repKept];
  assert.deepEqual(await Promise.all(ids.map(shown)), [second.conversation_id, null, repKept, null]);
  const { data } = await client.conversations.messages(first.conversation_id);
  assert.equal(data.length, 1, "its messages stay");
});

test("several merges still leave one conversation in use", async () => {
  const { admin, client } = hub;
  const people = ["A", "B", "C"].map((name) => hub.person("telegram", name));
  const landed: Message[] = [];
  for (const person of people) landed.push(await lands(person));
  const [a, b, c] = landed as [Message, Message, Message];
  await admin.contacts.merge(a.from, b.from);
  await admin.contacts.merge(b.from, c.from);
  for (const { conversation_id } of [a, b]) {
    assert.equal((await client.conversations.get(conversation_id)).continued_in, c.conversation_id);
  }
  for (const person of people) assert.equal((await lands(person)).conversation_id, c.conversation_id);
  const made = await client.conversations.create({ type: "private", members: [c.from] });
  assert.equal(made.conversation_id, c.conversation_id);
});
