import assert from "node:assert/strict";
import { before, test } from "node:test";
import { systemOf } from "../audit/audit.ts";
import { systemClock as clock } from "../lib/clock.ts";
import { type PoolOf, transaction } from "../lib/postgres.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { addUser, addWorkspace, countRows, openTestPool, testParseAddress } from "../testing/test-people.ts";
import { createContact, deleteContact, findOrCreateContacts, getContact, type ReachedPerson } from "./contacts.ts";

let database: Awaited<ReturnType<typeof openTestPool>>;
let pool: PoolOf<unknown>;
const opened = closeAfterTests();
before(async () => {
  database = opened.use(await openTestPool());
  pool = database.pool;
});

async function openPhoneBook() {
  const workspaceId = await addWorkspace(pool);
  return {
    workspaceId,
    find: (person: Partial<ReachedPerson>) =>
      transaction(pool, async (tx) => {
        const ana = { workspaceId, channel: "phone", identifier: "5511999991111", aliases: [], displayName: null };
        const [id] = await findOrCreateContacts({ db: tx, clock }, workspaceId, [{ ...ana, ...person }]);
        return id!;
      }),
    show: (contactId: string) => getContact(pool, workspaceId, contactId),
    create: (...addresses: string[]) =>
      createContact({ db: pool, clock, parseAddress: testParseAddress }, workspaceId, {
        display_name: "Bia",
        addresses,
      }),
  };
}

test("200 concurrent messages of an unknown person create one contact", async () => {
  const { find } = await openPhoneBook();
  const before = await countRows(pool, "contacts");

  const ids = await Promise.all(Array.from({ length: 200 }, () => find({ displayName: "Ana" })));

  assert.equal(new Set(ids).size, 1);
  assert.equal((await countRows(pool, "contacts")) - before, 1);
});

test("concurrent identifiers of one person in any combination create one contact", async () => {
  const { find, show } = await openPhoneBook();
  const names = ["11111", "22222", "33333"];
  const calls = Array.from({ length: 60 }, (_, index) => {
    const [identifier, ...aliases] = [...names.slice(index % 3), ...names.slice(0, index % 3)];
    return find({ identifier: identifier!, aliases });
  });

  const ids = new Set(await Promise.all(calls));

  assert.equal(ids.size, 1);
  assert.deepEqual((await show([...ids][0]!)).addresses.sort(), ["phone:11111", "phone:22222", "phone:33333"]);
});

test("a name that the platform adds later becomes an address of the same participant", async () => {
  const { find, show } = await openPhoneBook();
  const id = await find({});

  assert.equal(await find({ identifier: "77777", aliases: ["5511999991111"] }), id);
  assert.deepEqual((await show(id)).addresses, ["phone:5511999991111", "phone:77777"]);
});

test("an alias that another participant has stays there", async () => {
  const { find, show } = await openPhoneBook();
  const [ana, bia] = [await find({ identifier: "11111" }), await find({ identifier: "22222" })];

  assert.equal(await find({ identifier: "11111", aliases: ["22222", "33333"] }), ana);
  assert.deepEqual((await show(ana)).addresses, ["phone:11111", "phone:33333"]);
  assert.deepEqual((await show(bia)).addresses, ["phone:22222"]);
});

test("a contact named by its address takes the person's name once, and keeps it", async () => {
  const { find, show } = await openPhoneBook();
  const id = await find({});
  assert.equal((await show(id)).displayName, "5511999991111");

  await find({ displayName: " Zoë 🌻\0 " });
  await find({ displayName: "Someone else" });

  assert.equal((await show(id)).displayName, "Zoë 🌻");
});

test("a long name from a platform is cut, but not within a character", async () => {
  const { find, show } = await openPhoneBook();

  const id = await find({ displayName: "🌻".repeat(300) });

  assert.equal((await show(id)).displayName, "🌻".repeat(200));
});

test("a user with the address is found as well as a contact", async () => {
  const { find, workspaceId } = await openPhoneBook();
  const user = await addUser(pool, workspaceId, "Rui");
  await pool.query(
    "INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at) VALUES ($1, 'phone', '11111', $2, now())",
    [workspaceId, user.userId],
  );

  assert.equal(await find({ identifier: "11111", displayName: "R." }), user.userId);
});

test("an address of a deleted participant can be used again", async () => {
  const { find, workspaceId } = await openPhoneBook();
  const id = await find({});
  await pool.query("UPDATE participants SET deleted_at = now() WHERE participant_id = $1", [id]);

  const next = await find({});

  assert.notEqual(next, id);
  assert.equal(await find({}), next);
  await deleteContact({ db: pool, clock, leaveGroups: async () => {} }, systemOf(workspaceId), next);
  assert.notEqual(await find({}), next);
});

test("of two concurrent contacts with one address, one is created and the other gets a conflict that names the owner", async () => {
  const { create } = await openPhoneBook();

  const results = await Promise.allSettled([
    create("phone:11111", "phone:22222"),
    create("phone:22222", "phone:11111"),
    create("phone:11111"),
  ]);

  const made = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  assert.equal(made.length, 1);
  for (const error of refused) {
    assert.equal(error.code, "CONFLICT");
    assert.equal(error.details.participant_id, made[0]!.contactId);
  }
});

test("the same address in another workspace is another person", async () => {
  const [here, there] = [await openPhoneBook(), await openPhoneBook()];

  assert.notEqual(await here.find({}), await there.find({}));
});

test("people of one call who share an address become one contact, with the name that comes later", async () => {
  const { workspaceId, show } = await openPhoneBook();
  const person = { workspaceId, channel: "phone", displayName: null };
  const people = [
    { ...person, identifier: "11111", aliases: ["22222"] },
    { ...person, identifier: "33333", aliases: ["22222", "11111"], displayName: "Ana" },
    { ...person, identifier: "33333", aliases: [], displayName: "Bia" },
  ];

  const ids = await transaction(pool, (tx) => findOrCreateContacts({ db: tx, clock }, workspaceId, people));

  assert.equal(new Set(ids).size, 1);
  const { displayName, addresses } = await show(ids[0]!);
  assert.equal(displayName, "Ana");
  assert.deepEqual(addresses, ["phone:11111", "phone:22222", "phone:33333"]);
});
