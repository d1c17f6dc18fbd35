import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startPeopleHub } from "../testing/people-hub.ts";

let hub: PeopleHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startPeopleHub());
});

test("a new address is listed last, and adding it again changes nothing", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const path = `/v1/contacts/${await addContact("Ana", "chat:ana")}/addresses`;

  const first = await hub.call(agent, "POST", path, { address: "phone:+55 11 99999 1111" });
  const again = await hub.call(agent, "POST", path, { address: "phone:5511999991111" });

  assert.equal(first.status, 201);
  assert.deepEqual(first.body.addresses, ["chat:ana", "phone:5511999991111"]);
  assert.deepEqual(again, first);
});

test("an address can be removed in any spelling, and is then free for another participant", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const [ana, bia] = [await addContact("Ana", "phone:5511999991111"), await addContact("Bia")];
  const path = `/v1/contacts/${ana}/addresses/${encodeURIComponent("phone:+55 11 99999 1111")}`;

  assert.equal((await hub.call(agent, "DELETE", path)).status, 204);
  assert.equal((await hub.call(agent, "DELETE", path)).status, 404);
  const moved = await hub.call(agent, "POST", `/v1/contacts/${bia}/addresses`, { address: "phone:5511999991111" });
  assert.deepEqual(moved.body.addresses, ["phone:5511999991111"]);
});

test("an address of another participant is refused and cannot be removed through this one", async () => {
  const { admin, agent, eva, addContact } = await hub.openWorkspace();
  const ana = await addContact("Ana", "chat:ana");

  const refused = await hub.call(admin, "POST", `/v1/users/${eva.userId}/addresses`, { address: "chat:ana" });

  assert.deepEqual([refused.status, refused.body.error.details.participant_id], [409, ana]);
  assert.equal((await hub.call(eva, "DELETE", `/v1/users/${eva.userId}/addresses/chat:ana`)).status, 404);
  assert.deepEqual((await hub.call(agent, "GET", `/v1/contacts/${ana}`)).body.addresses, ["chat:ana"]);
});

test("when many participants add the same address at once, one of them gets it", async () => {
  const { agent, addContact } = await hub.openWorkspace();
  const contacts = await Promise.all(Array.from({ length: 10 }, (_, index) => addContact(`C${index}`)));

  const answers = await Promise.all(
    contacts.map((id) => hub.call(agent, "POST", `/v1/contacts/${id}/addresses`, { address: "chat:one" })),
  );

  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(9).fill(409)]);
});

// Otherwise a user who adds a customer's number reads the customer's messages.
test("admins add addresses to users, users add their own only with a proof, and both may remove them", async () => {
  const { admin, agent, eva, leo } = await hub.openWorkspace();
  const path = `/v1/users/${eva.userId}/addresses`;

  assert.equal((await hub.call(leo, "POST", path, { address: "chat:eva" })).status, 403);
  assert.equal((await hub.call(agent, "POST", path, { address: "chat:eva" })).status, 403);
  const started = await hub.call(eva, "POST", path, { address: "chat:eva" });
  assert.deepEqual([started.status, Object.keys(started.body)], [202, ["verification_id", "expires_at", "help"]]);
  const added = await hub.call(admin, "POST", path, { address: "chat:eva" });
  assert.deepEqual(added.body, { user_id: eva.userId, display_name: "Eva", addresses: ["chat:eva"] });
  assert.equal((await hub.call(leo, "DELETE", `${path}/chat:eva`)).status, 403);
  assert.equal((await hub.call(eva, "DELETE", `${path}/chat:eva`)).status, 204);
});

test("users and contacts are distinguished, and those of other workspaces get 404", async () => {
  const [here, there] = [await hub.openWorkspace(), await hub.openWorkspace()];
  const ana = await here.addContact("Ana");
  const add = async (path: string) => (await hub.call(here.admin, "POST", path, { address: "chat:x" })).status;

  assert.equal(await add(`/v1/users/${ana}/addresses`), 404);
  assert.equal(await add(`/v1/contacts/${here.eva.userId}/addresses`), 404);
  assert.equal(await add(`/v1/users/${there.eva.userId}/addresses`), 404);
});

test("members cannot change contacts, and an invalid body is rejected", async () => {
  const { agent, eva, addContact } = await hub.openWorkspace();
  const path = `/v1/contacts/${await addContact("Ana", "chat:ana")}/addresses`;

  assert.equal((await hub.call(eva, "POST", path, { address: "chat:x" })).status, 403);
  assert.equal((await hub.call(eva, "DELETE", `${path}/chat:ana`)).status, 403);
  for (const body of [
    {},
    { address: "x" },
    { address: "chat:A B" },
    { address: "app:1" },
    { address: "chat:a", b: 1 },
  ]) {
    assert.equal((await hub.call(agent, "POST", path, body)).status, 400, JSON.stringify(body));
  }
  assert.equal((await hub.call(agent, "DELETE", `${path}/nonsense`)).status, 400);
});
