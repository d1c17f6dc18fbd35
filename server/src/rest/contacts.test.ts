import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startPeopleHub } from "../testing/people-hub.ts";
import { keyOf } from "../testing/test-people.ts";

let hub: PeopleHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startPeopleHub());
});

const nobody = "00000000-0000-7000-8000-000000000000";

test("a contact keeps its name, its addresses in their order and its metadata, in any script", async () => {
  const { agent } = await hub.openWorkspace();
  const given = {
    display_name: "Ana 🌻 Ľubomíra 山田",
    addresses: ["phone:+55 11 99999 1111", "chat:ana", "phone:5511999991111"],
    metadata: { "nível\n": "ouro", tags: ["a", 1, true], deep: { a: { b: null } }, none: null },
  };

  const made = await hub.call(agent, "POST", "/v1/contacts", given);

  const { contact_id, created_at, ...rest } = made.body;
  assert.equal(made.status, 201);
  assert.deepEqual(rest, {
    display_name: given.display_name,
    addresses: ["phone:5511999991111", "chat:ana"],
    metadata: { "nível\n": "ouro", tags: ["a", 1, true], deep: { a: { b: null } } },
  });
  assert.match(created_at, /^2026-11-20T12:00:00\.\d{3}Z$/);
  assert.deepEqual((await hub.call(agent, "GET", `/v1/contacts/${contact_id.toUpperCase()}`)).body, made.body);
});

test("an invalid contact is rejected, the field is named, and nothing is created", async () => {
  const { agent } = await hub.openWorkspace();
  const nested = JSON.parse(`${'{"a":'.repeat(25)}1${"}".repeat(25)}`);
  const bad: [object, string][] = [
    [{}, "display_name"],
    [{ display_name: "" }, "display_name"],
    [{ display_name: "   " }, "display_name"],
    [{ display_name: "a\nb" }, "display_name"],
    [{ display_name: "a\0" }, "display_name"],
    [{ display_name: "x".repeat(201) }, "display_name"],
    [{ display_name: "Ana", adresses: [] }, "adresses"],
    [{ display_name: "Ana", addresses: Array(21).fill("chat:a") }, "addresses"],
    [{ display_name: "Ana", addresses: ["chat:a", "phone:x"] }, "addresses.1"],
    [{ display_name: "Ana", addresses: ["app:1"] }, "addresses.0"],
    [{ display_name: "Ana", metadata: [] }, "metadata"],
    [{ display_name: "Ana", metadata: { big: "é".repeat(8200) } }, "metadata"],
    [{ display_name: "Ana", metadata: { a: "\0" } }, "metadata"],
    [{ display_name: "Ana", metadata: { a: ["\ud800"] } }, "metadata"],
    [{ display_name: "Ana", metadata: nested }, "metadata"],
  ];

  for (const [body, field] of bad) {
    const answer = await hub.call(agent, "POST", "/v1/contacts", body);
    assert.deepEqual([answer.status, answer.body.error.details.field], [400, field], JSON.stringify(body).slice(0, 80));
  }
  assert.deepEqual((await hub.call(agent, "GET", "/v1/contacts")).body, { data: [], next_cursor: null });
});

test("accepts the longest name, metadata of just 16 KB and 20 addresses", async () => {
  const { agent } = await hub.openWorkspace();
  const metadata = { a: "x".repeat(16 * 1024 - '{"a":""}'.length) };
  const addresses = Array.from({ length: 20 }, (_, index) => `chat:a-${index}`);

  const { status, body } = await hub.call(agent, "POST", "/v1/contacts", {
    display_name: "🌻".repeat(200),
    addresses,
    metadata,
  });

  assert.equal(status, 201);
  assert.deepEqual(body.addresses, addresses);
});

test("a taken address is refused, and the error names its owner", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const ana = await addContact("Ana", "chat:ana");

  const { status, body } = await hub.call(agent, "POST", "/v1/contacts", {
    display_name: "Bia",
    addresses: ["chat:bia", "chat:ana"],
  });

  assert.equal(status, 409);
  assert.equal(body.error.code, "CONFLICT");
  assert.deepEqual(body.error.details, { address: "chat:ana", participant_id: ana });
});

test("contacts are listed newest first, page by page, each once", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const made: string[] = [];
  for (const name of ["A", "B", "C", "D", "E"]) made.push(await addContact(name));

  const pages: string[][] = [];
  let cursor = "";
  do {
    const { body } = await hub.call(agent, "GET", `/v1/contacts?limit=2${cursor && `&cursor=${cursor}`}`);
    pages.push(body.data.map((contact: { contact_id: string }) => contact.contact_id));
    cursor = body.next_cursor;
  } while (cursor);

  const [a, b, c, d, e] = made;
  assert.deepEqual(pages, [[e, d], [c, b], [a]]);
  assert.equal((await hub.call(agent, "GET", "/v1/contacts?limit=5")).body.next_cursor, null);
});

test("a contact is found by a literal part of its name or address, and by its exact address", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  await addContact("Ana María", "phone:5511999991111");
  await addContact("100%_ sure\\", "chat:x-1");
  const search = async (query: string) => {
    const { body } = await hub.call(agent, "GET", `/v1/contacts?${query}`);
    return body.data.map((contact: { display_name: string }) => contact.display_name);
  };

  assert.deepEqual(await search("query=mar%C3%ADa"), ["Ana María"]);
  assert.deepEqual(await search("query=99999"), ["Ana María"]);
  assert.deepEqual(await search("query=chat:x"), ["100%_ sure\\"]);
  assert.deepEqual(await search("query=%25_"), ["100%_ sure\\"]);
  assert.deepEqual(await search("query=sure%5C"), ["100%_ sure\\"]);
  assert.deepEqual(await search("query=A_a"), []);
  assert.deepEqual(await search("query="), ["100%_ sure\\", "Ana María"]);
  assert.deepEqual(await search("address=phone:%2B55%2011%2099999%201111"), ["Ana María"]);
  assert.deepEqual(await search("address=chat:nobody"), []);
});

test("rejects an unknown query field, an invalid page size and an invalid cursor", async () => {
  const { agent } = await hub.openWorkspace();

  for (const query of ["adress=chat:a", "limit=0", "limit=201", "limit=x", "cursor=x", "address=nonsense"]) {
    assert.equal((await hub.call(agent, "GET", `/v1/contacts?${query}`)).status, 400, query);
  }
});

test("an update changes only the fields it names; metadata is merged by key, and null removes a key", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const path = `/v1/contacts/${await addContact("Ana", "chat:ana")}`;
  const patch = async (body: object) => (await hub.call(agent, "PATCH", path, body)).body;

  await patch({ metadata: { plan: "gold", city: { name: "Porto" } } });
  assert.equal((await patch({ display_name: "Ana Maria" })).display_name, "Ana Maria");
  assert.deepEqual((await patch({ metadata: { plan: null, age: 30 } })).metadata, { city: { name: "Porto" }, age: 30 });
  assert.deepEqual(await patch({}), await patch({ metadata: {} }));
  const last = await patch({ metadata: null });
  assert.deepEqual([last.display_name, last.metadata, last.addresses], ["Ana Maria", {}, ["chat:ana"]]);
  assert.equal((await patch({ contact_id: nobody })).error.details.field, "contact_id");
});

test("concurrent updates keep each other's metadata keys", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const path = `/v1/contacts/${await addContact("Ana")}`;

  await Promise.all(
    Array.from({ length: 20 }, (_, index) => hub.call(agent, "PATCH", path, { metadata: { [`k${index}`]: index } })),
  );

  assert.equal(Object.keys((await hub.call(agent, "GET", path)).body.metadata).length, 20);
});

test("deleting a contact frees its address, removes it from groups and keeps it in private conversations", async () => {
  const { agent, admin, eva, workspaceId, addContact, addConversation } = await hub.openWorkspace();
  const ana = await addContact("Ana", "chat:ana");
  const group = await addConversation(ana, eva.userId, admin.userId);
  const talk = await addConversation(ana, workspaceId);

  assert.equal((await hub.call(agent, "DELETE", `/v1/contacts/${ana}`)).status, 204);

  for (const [method, body] of [["GET"], ["DELETE"], ["PATCH", {}]] as const) {
    assert.equal((await hub.call(agent, method, `/v1/contacts/${ana}`, body)).status, 404, method);
  }
  assert.deepEqual((await hub.call(agent, "GET", "/v1/contacts?query=ana")).body.data, []);
  assert.notEqual(await addContact("Ana again", "chat:ana"), ana);
  const members = async (id: string) => (await hub.call(agent, "GET", `/v1/conversations/${id}`)).body.members;
  assert.equal((await members(group)).length, 2);
  assert.deepEqual((await members(talk))[0], {
    participant_id: ana,
    kind: "contact",
    display_name: "Ana",
    channels: [],
    addresses: [],
  });
});

test("a merge moves addresses and memberships to the survivor, and the old id leads to it", async () => {
  const { agent, admin, eva, workspaceId, addContact, addConversation } = await hub.openWorkspace();
  const [old, ana] = [await addContact("Ana (work)", "chat:work"), await addContact("Ana", "chat:ana")];
  const talk = await addConversation(workspaceId, old);
  const shared = await addConversation(old, ana, eva.userId);
  const other = await addConversation(eva.userId, old, admin.userId);

  const merged = await hub.call(agent, "POST", `/v1/contacts/${old}/merge`, { into: ana });

  assert.equal(merged.status, 200);
  assert.deepEqual(
    [merged.body.contact_id, merged.body.display_name, merged.body.addresses],
    [ana, "Ana", ["chat:ana", "chat:work"]],
  );
  assert.deepEqual((await hub.call(agent, "GET", `/v1/contacts/${old}`)).body, merged.body);
  assert.deepEqual((await hub.call(agent, "POST", `/v1/contacts/${old}/merge`, { into: ana })).body, merged.body);
  assert.deepEqual((await hub.call(agent, "GET", "/v1/contacts")).body.data, [merged.body]);
  const members = async (id: string) =>
    (await hub.call(agent, "GET", `/v1/conversations/${id}`)).body.members.map(
      (member: { participant_id: string }) => member.participant_id,
    );
  assert.deepEqual(await members(talk), [workspaceId, ana]);
  assert.deepEqual(await members(shared), [ana, eva.userId]);
  assert.deepEqual(await members(other), [eva.userId, ana, admin.userId]);
  const renamed = await hub.call(agent, "PATCH", `/v1/contacts/${old}`, { display_name: "Ana M." });
  assert.equal(renamed.body.contact_id, ana);
  const group = await hub.call(agent, "POST", "/v1/conversations", {
    type: "group",
    members: [old, eva.userId, admin.userId],
  });
  assert.equal(group.body.members[0].participant_id, ana);
});

test("a merged contact can be merged further, but not back", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const [a, b, c] = [await addContact("A"), await addContact("B"), await addContact("C")];
  const merge = (from: string, into: string) => hub.call(agent, "POST", `/v1/contacts/${from}/merge`, { into });

  await merge(a, b);
  await merge(b, c);

  assert.equal((await hub.call(agent, "GET", `/v1/contacts/${a}`)).body.contact_id, c);
  assert.equal((await merge(a, b)).body.contact_id, c);
  assert.equal((await merge(c, a)).status, 409);
  const d = await addContact("D");
  assert.equal((await merge(a, d)).status, 409);
  assert.equal((await merge(d, d)).status, 400);
  await hub.call(agent, "DELETE", `/v1/contacts/${a}`);
  assert.equal((await hub.call(agent, "GET", `/v1/contacts/${b}`)).status, 404);
});

test("of two concurrent merges of a pair in both directions, one succeeds and the other gets a conflict", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const [a, b] = [await addContact("A", "chat:a"), await addContact("B", "chat:b")];
  const merge = (from: string, into: string) => hub.call(agent, "POST", `/v1/contacts/${from}/merge`, { into });

  const answers = await Promise.all([merge(a, b), merge(b, a), merge(a, b), merge(b, a)]);

  const survivors = answers.filter(({ status }) => status === 200).map(({ body }) => body.contact_id);
  assert.equal(new Set(survivors).size, 1);
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 409, 409]);
  const { body } = await hub.call(agent, "GET", "/v1/contacts");
  assert.deepEqual(
    body.data.map((contact: { addresses: string[] }) => contact.addresses.length),
    [2],
  );
});

test("two contacts with a private conversation cannot be merged", async () => {
  const { agent, addContact, addConversation } = await hub.openWorkspace();
  const [a, b] = [await addContact("A", "chat:a"), await addContact("B")];
  await addConversation(a, b);

  assert.equal((await hub.call(agent, "POST", `/v1/contacts/${a}/merge`, { into: b })).status, 409);
  assert.deepEqual((await hub.call(agent, "GET", `/v1/contacts/${a}`)).body.addresses, ["chat:a"]);
});

test("every request for a contact of another workspace gets 404", async () => {
  const [here, there] = [await hub.openWorkspace(), await hub.openWorkspace()];
  const [own, foreign] = [await here.addContact("Own"), await there.addContact("Foreign", "chat:ana")];
  const statuses = async (id: string) => [
    (await hub.call(here.admin, "GET", `/v1/contacts/${id}`)).status,
    (await hub.call(here.admin, "PATCH", `/v1/contacts/${id}`, { display_name: "Mine" })).status,
    (await hub.call(here.admin, "DELETE", `/v1/contacts/${id}`)).status,
    (await hub.call(here.admin, "POST", `/v1/contacts/${id}/merge`, { into: own })).status,
    (await hub.call(here.admin, "POST", `/v1/contacts/${id}/addresses`, { address: "chat:new" })).status,
    (await hub.call(here.admin, "DELETE", `/v1/contacts/${id}/addresses/chat:ana`)).status,
  ];

  assert.deepEqual(await statuses(foreign), [404, 404, 404, 404, 404, 404]);
  assert.deepEqual(await statuses(nobody), await statuses(foreign));
  assert.equal((await hub.call(here.admin, "POST", `/v1/contacts/${own}/merge`, { into: foreign })).status, 400);
  assert.deepEqual((await hub.call(here.admin, "GET", "/v1/contacts?query=foreign")).body.data, []);
  assert.deepEqual((await hub.call(here.admin, "GET", "/v1/contacts?address=chat:ana")).body.data, []);
  assert.ok(await here.addContact("Ana", "chat:ana"));
});

test("contacts are visible to agents, admins and keys with the scope, and do not include users", async () => {
  const { agent, eva, admin } = await hub.openWorkspace();
  const readOnlyKey = { ...keyOf(admin), scopes: ["contacts:read"] as const };

  assert.equal((await hub.call(eva, "GET", "/v1/contacts")).status, 403);
  assert.equal((await hub.call(eva, "POST", "/v1/contacts", { display_name: "A" })).status, 403);
  assert.equal((await hub.call(readOnlyKey, "GET", "/v1/contacts")).status, 200);
  assert.equal((await hub.call(readOnlyKey, "POST", "/v1/contacts", { display_name: "A" })).status, 403);
  assert.equal((await hub.call(agent, "GET", `/v1/contacts/${eva.userId}`)).status, 404);
  assert.equal((await hub.call(agent, "DELETE", `/v1/contacts/${eva.userId}`)).status, 404);
  assert.equal((await hub.call(agent, "GET", "/v1/contacts/not-an-id")).status, 400);
});
