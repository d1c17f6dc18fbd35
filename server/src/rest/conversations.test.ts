import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { Principal } from "../credentials/credentials.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startMs, startPeopleHub } from "../testing/people-hub.ts";
import { countRows, keyOf } from "../testing/test-people.ts";

let hub: PeopleHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startPeopleHub());
});

const nobody = "00000000-0000-7000-8000-000000000000";

const create = (caller: Principal, body: object) => hub.call(caller, "POST", "/v1/conversations", body);

test("creating a group of users and addresses returns its members in the given order", async () => {
  const { agent, eva, addContact } = await hub.openWorkspace();
  const ana = await addContact("Ana", "chat:ana", "phone:11111");

  const made = await create(agent, {
    type: "group",
    title: "Férias 🌴",
    members: [
      eva.userId.toUpperCase(),
      { address: "phone:+55 11 99999 1111", display_name: "Bia" },
      { address: "chat:ana" },
    ],
  });

  const { conversation_id, created_at, updated_at, members, ...rest } = made.body;
  assert.equal(updated_at, created_at);
  assert.equal(made.status, 201);
  assert.deepEqual(rest, {
    type: "group",
    title: "Férias 🌴",
    last_seq: 0,
    settings: { author_prefix: true },
    inbound: "here",
    continued_in: null,
  });
  assert.ok(Date.parse(created_at) >= startMs);
  assert.deepEqual(
    members.map((member: { participant_id: string }) => ({ ...member, participant_id: undefined })),
    [
      { participant_id: undefined, kind: "user", display_name: "Eva", channels: [], addresses: [] },
      {
        participant_id: undefined,
        kind: "contact",
        display_name: "Bia",
        channels: ["phone"],
        addresses: ["phone:5511999991111"],
      },
      {
        participant_id: undefined,
        kind: "contact",
        display_name: "Ana",
        channels: ["chat", "phone"],
        addresses: ["chat:ana", "phone:11111"],
      },
    ],
  );
  assert.deepEqual([members[0].participant_id, members[2].participant_id], [eva.userId, ana]);
  const activity = { last_message: null, unread_count: null };
  const shown = (await hub.call(agent, "GET", `/v1/conversations/${conversation_id}`)).body;
  assert.deepEqual(shown, { ...made.body, ...activity });
  // A member sees on which channels the others are reached.
  const seen = members.map((member: object) => ({ ...member, addresses: [] }));
  assert.deepEqual((await hub.call(eva, "GET", `/v1/conversations/${conversation_id}`)).body.members, seen);
});

test("the workspace can be a member", async () => {
  const { agent, workspaceId } = await hub.openWorkspace();

  const { body } = await create(agent, { type: "private", members: [workspaceId, { address: "chat:ana" }] });

  assert.equal(body.title, null);
  assert.deepEqual(body.members[0], {
    participant_id: workspaceId,
    kind: "workspace",
    display_name: "Acme",
    channels: [],
    addresses: [],
  });
  assert.equal(body.members[1].display_name, "ana");
});

test("a private conversation has exactly 2 members and a group 3 to 100", async () => {
  const { agent } = await hub.openWorkspace();
  const people = (count: number) => Array.from({ length: count }, (_, index) => ({ address: `chat:p-${index}` }));
  const status = async (type: string, count: number) => (await create(agent, { type, members: people(count) })).status;

  for (const count of [0, 1, 3]) assert.equal(await status("private", count), 400, `private of ${count}`);
  for (const count of [0, 2, 101]) assert.equal(await status("group", count), 400, `group of ${count}`);
  assert.equal(await status("private", 2), 201);
  assert.equal(await status("group", 3), 201);
  assert.equal(await status("group", 100), 201);
});

test("a member must be among the members and may name users only; agents and keys may name anyone", async () => {
  const { agent, admin, eva, leo, addContact } = await hub.openWorkspace();
  const [ana, bia] = [await addContact("Ana"), await addContact("Bia")];
  const status = async (caller: Principal, ...members: string[]) =>
    (await create(caller, { type: "private", members })).status;

  assert.equal(await status(eva, ana, bia), 403);
  assert.equal(await status(eva, leo.userId, ana), 403);
  for (const whom of [ana, nobody]) assert.equal(await status(eva, whom, eva.userId), 403);
  assert.equal(await status(eva, leo.userId, eva.userId), 201);
  assert.equal(await status(agent, ana, bia), 201);
  assert.equal(await status(keyOf(admin), ana, eva.userId), 201);
});

test("an invalid member is named, reveals no other participant, and creates nothing", async () => {
  const [{ agent, eva, leo, addContact }, there] = [await hub.openWorkspace(), await hub.openWorkspace()];
  const gone = await addContact("Gone");
  await hub.call(agent, "DELETE", `/v1/contacts/${gone}`);
  const foreign = await there.addContact("Foreign");
  const before = [await countRows(hub.pool, "participants"), await countRows(hub.pool, "conversations")];
  const bad: [unknown, string][] = [
    [nobody, "members.2"],
    [foreign, "members.2"],
    [there.workspaceId, "members.2"],
    [gone, "members.2"],
    [eva.userId, "members.2"],
    [{ address: "chat:new" }, "members.2"],
    ["not an id", "members.2"],
    [`urn:uuid:${nobody}`, "members.2"],
    [7, "members.2"],
    [{ display_name: "Ana" }, "members.2.address"],
    [{ address: "pigeon:7" }, "members.2.address"],
    [{ address: "chat:A B" }, "members.2.address"],
    [{ address: "chat:bia", display_name: " " }, "members.2.display_name"],
    [{ address: "chat:bia", name: "Bia" }, "members.2.name"],
  ];

  for (const [member, field] of bad) {
    const members = [{ address: "chat:new" }, eva.userId, member, leo.userId];
    const { status, body } = await create(agent, { type: "group", members });
    assert.deepEqual([status, body.error.details.field], [400, field], JSON.stringify(member));
  }
  const shape = ({ message }: { message: string }, id: string) => message.replace(id, "");
  const error = async (id: string) => (await create(agent, { type: "private", members: [eva.userId, id] })).body.error;
  assert.equal(shape(await error(foreign), foreign), shape(await error(nobody), nobody));
  assert.deepEqual([await countRows(hub.pool, "participants"), await countRows(hub.pool, "conversations")], before);
});

test("rejects unknown and malformed fields by name", async () => {
  const { agent, eva, leo } = await hub.openWorkspace();
  const members = [eva.userId, leo.userId];
  const bad: [object, string][] = [
    [{ members }, "type"],
    [{ type: "private" }, "members"],
    [{ type: "secret", members }, "type"],
    [{ type: "private", members, titel: "x" }, "titel"],
    [{ type: "private", members, title: "x".repeat(201) }, "title"],
    [{ type: "private", members, title: "a\0" }, "title"],
    [{ type: "private", members, settings: { author_prefix: "yes" } }, "settings.author_prefix"],
    [{ type: "private", members, settings: { autor_prefix: true } }, "settings.autor_prefix"],
  ];

  for (const [body, field] of bad) {
    const answer = await create(agent, body);
    assert.deepEqual([answer.status, answer.body.error.details.field], [400, field], JSON.stringify(body));
  }
});

test("one unknown address named in many conversations at the same time becomes one contact", async () => {
  const { agent, eva } = await hub.openWorkspace();
  const addresses = ["chat:x", "chat:y", "chat:z"].map((address) => ({ address }));
  const before = await countRows(hub.pool, "contacts");

  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) => {
      const turned = [...addresses.slice(index % 3), ...addresses.slice(0, index % 3)];
      return create(agent, { type: "group", members: [eva.userId, ...turned] });
    }),
  );

  assert.ok(answers.every(({ status }) => status === 201));
  assert.equal((await countRows(hub.pool, "contacts")) - before, 3);
});

test("members list their own conversations, agents all, newest first, page by page", async () => {
  const { agent, eva, leo, addConversation } = await hub.openWorkspace();
  const ours = await addConversation(eva.userId, leo.userId);
  const theirs = await addConversation(agent.userId, leo.userId);
  const newest = await addConversation(eva.userId, leo.userId, agent.userId);
  const list = async (caller: Principal, query = "") => {
    const { body } = await hub.call(caller, "GET", `/v1/conversations${query}`);
    const ids = body.data.map((item: { conversation_id: string }) => item.conversation_id);
    return { ids, next: body.next_cursor };
  };

  assert.deepEqual((await list(eva)).ids, [newest, ours]);
  assert.deepEqual((await list(agent)).ids, [newest, theirs, ours]);
  const first = await list(agent, "?limit=2");
  assert.deepEqual(first.ids, [newest, theirs]);
  assert.deepEqual(await list(agent, `?limit=2&cursor=${first.next}`), { ids: [ours], next: null });
});

test("title and settings can be changed separately, for all who can see the conversation", async () => {
  const { agent, eva, leo, addConversation } = await hub.openWorkspace();
  const path = `/v1/conversations/${await addConversation(eva.userId, leo.userId)}`;

  const titled = await hub.call(eva, "PATCH", path, { title: "Nós" });
  assert.deepEqual([titled.status, titled.body.title, titled.body.settings], [200, "Nós", { author_prefix: true }]);
  const set = await hub.call(agent, "PATCH", path, { settings: { author_prefix: false } });
  assert.deepEqual([set.body.title, set.body.settings], ["Nós", { author_prefix: false }]);
  const same = await hub.call(agent, "PATCH", path, { settings: {} });
  assert.deepEqual(same.body, set.body);
  assert.equal((await hub.call(eva, "PATCH", path, { title: null })).body.title, null);
  assert.equal((await hub.call(eva, "PATCH", path, { title: " " })).status, 400);
  assert.equal((await hub.call(eva, "PATCH", path, { type: "group" })).body.error.details.field, "type");
});

test("a conversation of others or of another workspace gets 404", async () => {
  const [here, there] = [await hub.openWorkspace(), await hub.openWorkspace()];
  const id = await here.addConversation(here.leo.userId, here.admin.userId, here.agent.userId);
  const calls: [string, string, object?][] = [
    ["GET", ""],
    ["PATCH", "", { title: "Mine" }],
    ["GET", "/capabilities"],
    ["GET", "/messages"],
    ["POST", "/members", { member: { address: "chat:left-behind" } }],
    ["DELETE", `/members/${here.leo.userId}`],
    ["POST", "/read", { seq: 0 }],
    ["POST", "/typing"],
  ];

  for (const caller of [here.eva, there.admin, keyOf(there.admin)]) {
    for (const [method, path, body] of calls) {
      const answer = await hub.call(caller, method, `/v1/conversations/${id}${path}`, body);
      assert.deepEqual([answer.status, answer.body.error.code], [404, "RESOURCE_NOT_FOUND"], `${method} ${path}`);
      const absent = await hub.call(caller, method, `/v1/conversations/${nobody}${path}`, body);
      assert.equal(absent.body.error.message, answer.body.error.message);
    }
  }
  assert.deepEqual((await hub.call(there.admin, "GET", "/v1/contacts")).body.data, []);
});

test("members can add users to a group, agents anyone, by id or address, each participant once", async () => {
  const { agent, eva, leo, admin, addContact, addConversation } = await hub.openWorkspace();
  const path = `/v1/conversations/${await addConversation(eva.userId, agent.userId, admin.userId)}/members`;
  await addContact("Ana", "chat:ana");

  const ana = { member: { address: "chat:ana", display_name: "Ignored" } };
  assert.equal((await hub.call(eva, "POST", path, ana)).status, 403);
  const added = await hub.call(agent, "POST", path, ana);
  assert.equal(added.status, 201);
  assert.equal(added.body.members.at(-1).display_name, "Ana");
  assert.equal((await hub.call(leo, "POST", path, { member: leo.userId })).status, 404);
  assert.equal((await hub.call(eva, "POST", path, { member: leo.userId })).status, 201);
  assert.equal((await hub.call(leo, "GET", path.replace("/members", ""))).status, 200);
  const again = await hub.call(agent, "POST", path, { member: leo.userId });
  assert.deepEqual([again.status, again.body.error.details.participant_id], [409, leo.userId]);
  const unknown = await hub.call(agent, "POST", path, { member: nobody });
  assert.deepEqual([unknown.status, unknown.body.error.details.field], [400, "member"]);
});

test("a group never grows beyond 100, even with concurrent additions", async () => {
  const { agent, addConversation } = await hub.openWorkspace();
  const id = await addConversation(...Array.from({ length: 95 }, (_, index) => ({ address: `chat:m-${index}` })));

  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, index) =>
      hub.call(agent, "POST", `/v1/conversations/${id}/members`, { member: { address: `chat:late-${index}` } }),
    ),
  );

  assert.deepEqual(answers.map(({ status }) => status).sort(), [...Array(5).fill(201), ...Array(7).fill(400)]);
  assert.equal((await hub.call(agent, "GET", `/v1/conversations/${id}`)).body.members.length, 100);
  assert.deepEqual((await hub.call(agent, "GET", "/v1/contacts?query=late&limit=200")).body.data.length, 5);
});

test("a member who was removed or left no longer sees the conversation, and the last member cannot leave", async () => {
  const { agent, eva, leo, admin, addConversation } = await hub.openWorkspace();
  const path = `/v1/conversations/${await addConversation(eva.userId, leo.userId, admin.userId)}`;
  const remove = async (caller: Principal, who: Principal) =>
    (await hub.call(caller, "DELETE", `${path}/members/${who.userId}`)).status;

  assert.equal(await remove(eva, leo), 204);
  assert.equal((await hub.call(leo, "GET", path)).status, 404);
  assert.equal(await remove(agent, leo), 404);
  assert.equal(await remove(eva, eva), 204);
  assert.equal((await hub.call(eva, "GET", path)).status, 404);
  assert.equal(await remove(agent, admin), 409);
});

test("the members of a private conversation cannot be changed", async () => {
  const { agent, eva, leo, addConversation } = await hub.openWorkspace();
  const path = `/v1/conversations/${await addConversation(eva.userId, leo.userId)}/members`;

  assert.equal((await hub.call(eva, "POST", path, { member: agent.userId })).status, 400);
  assert.equal((await hub.call(eva, "DELETE", `${path}/${leo.userId}`)).status, 400);
});

test("the read position only moves forward, and marks each message once", async () => {
  const { agent, eva, leo, addConversation } = await hub.openWorkspace();
  const conversationId = await addConversation(eva.userId, leo.userId);
  await hub.addMessages(conversationId, leo.userId, 10);
  const read = async (seq: unknown) =>
    (await hub.call(eva, "POST", `/v1/conversations/${conversationId}/read`, { seq })).status;

  for (const seq of [3, 2, 3, 0, 7]) assert.equal(await read(seq), 204, `seq ${seq}`);
  await Promise.all(Array.from({ length: 10 }, () => read(10)));
  for (const seq of [11, -1, 1.5, "3", null]) assert.equal(await read(seq), 400, `seq ${seq}`);

  const ranges = hub.readRanges.filter((range) => range.conversationId === conversationId);
  assert.deepEqual(
    ranges.map(({ participantId, fromSeq, toSeq }) => [participantId, fromSeq, toSeq]),
    [
      [eva.userId, 1, 3],
      [eva.userId, 4, 7],
      [eva.userId, 8, 10],
    ],
  );
  assert.equal((await hub.call(agent, "POST", `/v1/conversations/${conversationId}/read`, { seq: 1 })).status, 403);
});

test("agents and keys that are not members act as the workspace, where the workspace is a member", async () => {
  const { agent, admin, workspaceId, addConversation } = await hub.openWorkspace();
  const conversationId = await addConversation(workspaceId, { address: "chat:ana" });
  await hub.addMessages(conversationId, workspaceId, 2);
  const path = `/v1/conversations/${conversationId}`;

  assert.equal((await hub.call(agent, "POST", `${path}/read`, { seq: 1 })).status, 204);
  assert.equal((await hub.call(keyOf(admin), "POST", `${path}/read`, { seq: 2 })).status, 204);
  assert.equal((await hub.call(agent, "POST", `${path}/typing`)).status, 204);

  const ranges = hub.readRanges.filter((range) => range.conversationId === conversationId);
  assert.deepEqual(
    ranges.map(({ participantId, toSeq }) => [participantId, toSeq]),
    [
      [workspaceId, 1],
      [workspaceId, 2],
    ],
  );
});

test("a new member has read all earlier messages", async () => {
  const { agent, eva, leo, admin, addConversation } = await hub.openWorkspace();
  const conversationId = await addConversation(eva.userId, agent.userId, admin.userId);
  await hub.addMessages(conversationId, eva.userId, 5);
  await hub.call(eva, "POST", `/v1/conversations/${conversationId}/members`, { member: leo.userId });
  await hub.addMessages(conversationId, eva.userId, 1);

  await hub.call(leo, "POST", `/v1/conversations/${conversationId}/read`, { seq: 6 });

  const [range] = hub.readRanges.filter((range) => range.conversationId === conversationId);
  assert.deepEqual([range?.fromSeq, range?.toSeq], [6, 6]);
});

test("typing takes no fields, with or without a body", async () => {
  const { eva, leo, addConversation } = await hub.openWorkspace();
  const path = `/v1/conversations/${await addConversation(eva.userId, leo.userId)}/typing`;

  assert.equal((await hub.call(eva, "POST", path)).status, 204);
  assert.equal((await hub.call(eva, "POST", path, {})).status, 204);
  assert.equal((await hub.call(eva, "POST", path, { seq: 1 })).body.error.details.field, "seq");
});

test("capabilities say, by member and channel, what can be sent and until when", async () => {
  const { agent, eva, addContact, addConversation, workspaceId } = await hub.openWorkspace();
  const ana = await addContact("Ana", "phone:11111", "phone:22222", "chat:ana");
  const bia = await addContact("Bia", "phone:33333");
  const lastInbound = new Date(startMs - 3_600_000);
  const setLastInbound = "UPDATE addresses SET last_heard_at = $2 WHERE workspace_id = $3 AND identifier = $1";
  await hub.pool.query(setLastInbound, ["22222", lastInbound, workspaceId]);
  await hub.pool.query(setLastInbound, ["33333", new Date(startMs - 25 * 3_600_000), workspaceId]);
  const id = await addConversation(eva.userId, ana, bia);

  const { status, body } = await hub.call(agent, "GET", `/v1/conversations/${id}/capabilities`);

  assert.equal(status, 200);
  assert.equal(body.conversation_id, id);
  const [user, contact, silent] = body.members;
  assert.deepEqual([user.participant_id, user.kind, user.display_name], [eva.userId, "user", "Eva"]);
  assert.equal(user.channels.length, 1);
  assert.deepEqual(
    [user.channels[0].channel, user.channels[0].max_text_length, user.channels[0].window],
    ["app", 65_536, { state: "none", closes_at: null }],
  );
  assert.deepEqual(contact.channels, [
    {
      channel: "phone",
      addresses: ["phone:11111", "phone:22222"],
      payloads: ["text", "file", "template"],
      max_text_length: 4096,
      media: [{ kind: "image", content_types: ["image/png"], max_size: 1_000, max_caption_length: 100 }],
      receipts: ["sent", "delivered", "read"],
      replies: true,
      typing: "answer",
      read_marks: true,
      window: { state: "open", closes_at: new Date(lastInbound.getTime() + 24 * 3_600_000).toISOString() },
    },
    {
      channel: "chat",
      addresses: ["chat:ana"],
      payloads: ["text"],
      max_text_length: 1000,
      media: [],
      receipts: ["sent"],
      replies: false,
      typing: "always",
      read_marks: false,
      window: { state: "none", closes_at: null },
    },
  ]);
  assert.deepEqual(silent.channels[0].window, { state: "closed", closes_at: null });
});

test("a key needs the scope of the operation", async () => {
  const { admin, eva, leo, addConversation } = await hub.openWorkspace();
  const id = await addConversation(eva.userId, leo.userId);
  const readOnlyKey = { ...keyOf(admin), scopes: ["conversations:read"] as const };

  assert.equal((await hub.call(readOnlyKey, "GET", `/v1/conversations/${id}`)).status, 200);
  assert.equal((await hub.call(readOnlyKey, "GET", `/v1/conversations/${id}/messages`)).status, 403);
  assert.equal((await hub.call(readOnlyKey, "PATCH", `/v1/conversations/${id}`, { title: "x" })).status, 403);
  assert.equal((await create(readOnlyKey, { type: "private", members: [eva.userId, leo.userId] })).status, 403);
});
