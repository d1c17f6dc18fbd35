import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Principal } from "../credentials/credentials.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startPeopleHub } from "../testing/people-hub.ts";
import { keyOf } from "../testing/test-people.ts";

let hub: PeopleHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startPeopleHub());
});

interface Listed {
  conversation_id: string;
  updated_at: string;
  last_message: { seq: number; from: string; payload: { text: string } } | null;
  unread_count: number | null;
}

async function list(caller: Principal, query = ""): Promise<{ data: Listed[]; next_cursor: string | null }> {
  const { status, body } = await hub.call(caller, "GET", `/v1/conversations${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

const idsOf = ({ data }: { data: Listed[] }) => data.map(({ conversation_id }) => conversation_id);

test("conversations are found by contact, participant and channel, alone and together", async () => {
  const { agent, eva, leo, addContact, addConversation } = await hub.openWorkspace();
  const ana = await addContact("Ana", "phone:1111100001");
  const bia = await addContact("Bia", "chat:bia-finds");
  const withAna = await addConversation(eva.userId, ana);
  const withBia = await addConversation(leo.userId, bia);
  const withBoth = await addConversation(leo.userId, ana, bia);

  assert.deepEqual(idsOf(await list(agent, `?contact_id=${ana}`)), [withBoth, withAna]);
  assert.deepEqual(idsOf(await list(agent, `?contact_id=${ana.toUpperCase()}`)), [withBoth, withAna]);
  assert.deepEqual(idsOf(await list(agent, `?participant_id=${leo.userId}`)), [withBoth, withBia]);
  assert.deepEqual(idsOf(await list(agent, `?participant_id=${leo.userId}&contact_id=${ana}`)), [withBoth]);
  assert.deepEqual(idsOf(await list(agent, "?channel=chat")), [withBoth, withBia]);
  assert.deepEqual(idsOf(await list(agent, "?channel=phone&sort=activity")), [withBoth, withAna]);
  assert.deepEqual(idsOf(await list(agent, `?contact_id=${leo.userId}`)), [], "a user is no contact");
  assert.deepEqual(idsOf(await list(agent, "?contact_id=00000000-0000-7000-8000-000000000000")), []);
});

test("members find only their own conversations", async () => {
  const { agent, eva, leo, addContact, addConversation } = await hub.openWorkspace();
  const ana = await addContact("Ana");
  await addConversation(leo.userId, ana);
  const ours = await addConversation(eva.userId, agent.userId, ana);
  for (const query of [`?contact_id=${ana}`, `?participant_id=${ana}&sort=activity`, `?participant_id=${eva.userId}`]) {
    assert.deepEqual(idsOf(await list(eva, query)), [ours], query);
  }
  assert.deepEqual(idsOf(await list(eva, `?participant_id=${leo.userId}`)), []);
});

test("the id of a merged contact finds the conversations of the contact it was merged into", async () => {
  const { agent, eva, addContact, addConversation } = await hub.openWorkspace();
  const [old, ana] = [await addContact("Ana (old)"), await addContact("Ana")];
  const conversation = await addConversation(eva.userId, old);
  await hub.call(agent, "POST", `/v1/contacts/${old}/merge`, { into: ana });
  assert.deepEqual(idsOf(await list(agent, `?contact_id=${old}`)), [conversation]);
});

test("sorted by activity, the conversation with the newest message comes first, page by page", async () => {
  const { agent, eva, leo, addContact, addConversation } = await hub.openWorkspace();
  const made: string[] = [];
  for (let number = 0; number < 5; number += 1) made.push(await addConversation(eva.userId, await addContact("One")));
  for (const index of [3, 0, 4]) await hub.addMessages(made[index]!, eva.userId, 1);
  const expected = [4, 0, 3, 2, 1].map((index) => made[index]!);

  for (const caller of [agent, eva]) {
    const found: string[] = [];
    let cursor: string | null = "";
    for (let pages = 0; cursor !== null && pages < 5; pages += 1) {
      const page = await list(caller, `?sort=activity&limit=2${cursor && `&cursor=${cursor}`}`);
      found.push(...idsOf(page));
      cursor = page.next_cursor;
    }
    assert.deepEqual(found, expected);
    assert.deepEqual(idsOf(await list(caller)), made.toReversed(), "by creation, unless asked otherwise");
  }
  const { data } = await list(agent, "?sort=activity");
  const since = data[2]!.updated_at;
  assert.deepEqual(idsOf(await list(agent, `?updated_after=${since}`)), [made[4], made[0]]);
  assert.deepEqual(idsOf(await list(agent, `?updated_after=${since}&sort=activity&contact_id=${leo.userId}`)), []);
});

test("each conversation has its last message and the number of unread messages of others", async () => {
  const { agent, admin, eva, leo, workspaceId, addContact, addConversation } = await hub.openWorkspace();
  const conversation = await addConversation(eva.userId, leo.userId, workspaceId);
  const silent = await addConversation(agent.userId, await addContact("Silent"));
  await hub.addMessages(conversation, leo.userId, 3);
  await hub.addMessages(conversation, eva.userId, 2);
  await hub.call(eva, "POST", `/v1/conversations/${conversation}/read`, { seq: 1 });

  const of = async (caller: Principal, id: string) =>
    (await list(caller)).data.find(({ conversation_id }) => conversation_id === id)!;
  const shown = await of(eva, conversation);
  assert.deepEqual(
    [shown.last_message?.seq, shown.last_message?.from, shown.last_message?.payload.text, shown.unread_count],
    [5, eva.userId, "oi", 2],
  );
  assert.equal((await of(leo, conversation)).unread_count, 2);
  assert.equal((await of(admin, conversation)).unread_count, 5, "an admin reads as the workspace");
  const empty = await of(agent, silent);
  assert.deepEqual([empty.last_message, empty.unread_count], [null, 0]);
  assert.equal((await of(admin, silent)).unread_count, null, "a caller who is no member");
  const one = await hub.call(eva, "GET", `/v1/conversations/${conversation}`);
  assert.deepEqual([one.body.last_message, one.body.unread_count], [shown.last_message, 2]);
  const limited: Principal = { ...keyOf(admin), scopes: ["conversations:read"] };
  assert.equal((await of(limited, conversation)).last_message, null, "a key that may not read messages");
  await hub.addMessages(conversation, leo.userId, 150);
  assert.equal((await of(eva, conversation)).unread_count, 100, "the count ends at 100");
});

test("rejects an invalid filter by name", async () => {
  const { agent } = await hub.openWorkspace();
  for (const [query, field] of [
    ["contact_id=ana", "contact_id"],
    ["updated_after=yesterday", "updated_after"],
    ["sort=name", "sort"],
    ["channel=%00", "channel"],
  ] as const) {
    const { status, body } = await hub.call(agent, "GET", `/v1/conversations?${query}`);
    assert.deepEqual([status, body.error.details.field], [400, field], query);
  }
});

test("contacts are found by a key of their metadata and its value", async () => {
  const [{ agent, addContact }, there] = [await hub.openWorkspace(), await hub.openWorkspace()];
  const make = async (caller: Principal, metadata: object) =>
    (await hub.call(caller, "POST", "/v1/contacts", { display_name: "One", metadata })).body.contact_id as string;
  const find = async (key: string, value: string) => {
    const query = new URLSearchParams({ metadata_key: key, metadata_value: value });
    const { body } = await hub.call(agent, "GET", `/v1/contacts?${query}`);
    return body.data.map(({ contact_id }: { contact_id: string }) => contact_id);
  };
  const [first, second] = [await make(agent, { crm: "A-1", "ação & co": "sim" }), await make(agent, { crm: 42 })];
  await make(there.agent, { crm: "A-1" });
  await addContact("Without");

  assert.deepEqual(await find("crm", "A-1"), [first]);
  assert.deepEqual(await find("crm", "42"), [second]);
  assert.deepEqual(await find("ação & co", "sim"), [first]);
  assert.deepEqual(await find("crm", "A-2"), []);
  await hub.call(agent, "PATCH", `/v1/contacts/${first}`, { metadata: { crm: "A-2" } });
  assert.deepEqual([await find("crm", "A-1"), await find("crm", "A-2")], [[], [first]]);
  await hub.call(agent, "PATCH", `/v1/contacts/${first}`, { metadata: null });
  assert.deepEqual(await find("crm", "A-2"), []);
  const alone = await hub.call(agent, "GET", "/v1/contacts?metadata_key=crm");
  assert.deepEqual([alone.status, alone.body.error.details.field], [400, "metadata_value"]);
});

test("a private conversation of the same two exists once, even if several callers create it at once", async () => {
  const { agent, eva, leo, addContact } = await hub.openWorkspace();
  const ana = await addContact("Ana", "chat:ana-once");
  const create = (caller: Principal, members: unknown[], rest = {}) =>
    hub.call(caller, "POST", "/v1/conversations", { type: "private", members, ...rest });

  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => {
      const two = [eva.userId, index % 3 === 0 ? { address: "chat:ana-once" } : ana];
      return create(agent, index % 2 === 0 ? two : two.toReversed(), { title: `Try ${index}` });
    }),
  );
  assert.equal(new Set(answers.map(({ body }) => body.conversation_id)).size, 1);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [...Array(19).fill(200), 201]);
  assert.equal(new Set(answers.map(({ body }) => body.title)).size, 1, "the response shows it as it is");
  assert.equal((await create(agent, [leo.userId, ana])).status, 201, "another two");
});

test("an API key that names one other participant is added itself; a user gets an error that says to do so", async () => {
  const { admin, agent, eva, leo, workspaceId } = await hub.openWorkspace();
  const create = (caller: Principal, members: unknown[]) =>
    hub.call(caller, "POST", "/v1/conversations", { type: "private", members });
  const idsIn = (answer: { body: { members: { participant_id: string }[] } }) =>
    answer.body.members.map(({ participant_id }) => participant_id);

  const made = await create(keyOf(admin), [{ address: "chat:customer-of-a-bot" }]);
  assert.equal(made.status, 201);
  assert.equal(idsIn(made)[0], workspaceId);
  const again = await create(keyOf(agent), [{ address: "chat:customer-of-a-bot" }]);
  assert.deepEqual([again.status, again.body.conversation_id], [200, made.body.conversation_id]);
  const keyOfMember = { ...eva, kind: "api_key" as const, callerId: "00000000-0000-7000-8000-0000000000ee" };
  assert.deepEqual(idsIn(await create(keyOfMember, [leo.userId])), [eva.userId, leo.userId]);
  const alone = await create(agent, [leo.userId]);
  assert.deepEqual([alone.status, alone.body.error.details.field], [400, "members"]);
  assert.match(alone.body.error.message, new RegExp(`Add yourself \\(${agent.userId}\\)`));
});

test("a cursor of another order, of other filters or of another list is refused", async () => {
  const { agent, eva, addContact, addConversation } = await hub.openWorkspace();
  for (const name of ["One", "Two", "Three"]) await addConversation(eva.userId, await addContact(name));
  const { next_cursor: cursor } = await list(agent, `?sort=activity&participant_id=${eva.userId}&limit=1`);
  const right = `/v1/conversations?sort=activity&participant_id=${eva.userId}`;
  assert.equal((await hub.call(agent, "GET", `${right}&limit=2&cursor=${cursor}`)).body.data.length, 2);
  for (const path of [
    `/v1/conversations?participant_id=${eva.userId}`,
    "/v1/conversations?sort=activity",
    `${right}&channel=chat`,
    "/v1/contacts?limit=1",
  ]) {
    const { status, body } = await hub.call(agent, "GET", `${path}${path.includes("?") ? "&" : "?"}cursor=${cursor}`);
    assert.deepEqual([status, body.error?.details.field], [400, "cursor"], path);
    assert.match(body.error.message, /leave cursor out/);
  }
  const first = await list(agent, "?limit=1");
  assert.equal(
    (await hub.call(agent, "GET", `/v1/conversations?sort=created&cursor=${first.next_cursor}`)).status,
    200,
  );
});
