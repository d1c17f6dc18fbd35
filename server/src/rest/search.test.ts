/** Search by text: which spellings find each other, and what a search may cost. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { openDatabases } from "../databases.ts";
import { transaction } from "../lib/postgres.ts";
import { all, one, run } from "../lib/query.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startPeopleHub } from "../testing/people-hub.ts";

const opened = closeAfterTests();
let hub: PeopleHub;
before(async () => {
  hub = opened.use(await startPeopleHub());
});

type Workspace = Awaited<ReturnType<PeopleHub["openWorkspace"]>>;

async function search({ agent }: Workspace, query: string, more = ""): Promise<string[]> {
  const { status, body } = await hub.call(agent, "GET", `/v1/contacts?query=${encodeURIComponent(query)}${more}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body.data.map((contact: { display_name: string }) => contact.display_name.normalize("NFC"));
}

// A Mac composes names one way, a phone the other; they look the same.
test("a name is found in any case, with or without accents, however its letters are composed", async () => {
  const workspace = await hub.openWorkspace();
  await workspace.addContact("José Conceição".normalize("NFC"));
  await workspace.addContact("Zoë Ångström".normalize("NFD"));
  await workspace.addContact("Анна Йовович".normalize("NFD"));
  for (const [query, found] of [
    ["josé", "José Conceição"],
    ["CONCEIÇÃO", "José Conceição"],
    ["conceicao", "José Conceição"],
    ["zoë å", "Zoë Ångström"],
    ["angstrom", "Zoë Ångström"],
    ["ЙОВО", "Анна Йовович"],
    ["ＪＯＳＥ", "José Conceição"],
  ] as const) {
    for (const form of ["NFC", "NFD"] as const) {
      assert.deepEqual(await search(workspace, query.normalize(form)), [found], `${query} in ${form}`);
    }
  }
  assert.deepEqual(await search(workspace, "josef"), []);
});

test("a phone number is found in any format, whole or in part", async () => {
  const workspace = await hub.openWorkspace();
  await workspace.addContact("Ana", "phone:5511987654321");
  await workspace.addContact("Bia", "phone:5521912345678");
  await workspace.addContact("Room (11) 9");
  for (const query of [
    "(11) 98765-4321",
    "+55 11 98765-4321",
    "98765\u20114321",
    "11.98765.4321",
    "987654321",
    "phone:55119",
  ]) {
    assert.deepEqual(await search(workspace, query), ["Ana"], query);
  }
  assert.deepEqual(await search(workspace, "(11) 9"), ["Room (11) 9", "Ana"], "as text, and as digits");
  assert.deepEqual(await search(workspace, "+55"), []);
});

test("a part of one or two characters is found, newest first, page by page", async () => {
  const workspace = await hub.openWorkspace();
  for (const name of ["Li", "Bo", "Lia", "Liam", "Julia", "東京"]) await workspace.addContact(name);
  assert.deepEqual(await search(workspace, "li"), ["Julia", "Liam", "Lia", "Li"]);
  assert.deepEqual(await search(workspace, "京"), ["東京"]);
  for (const [query, names] of [
    ["li", ["Julia", "Liam", "Lia", "Li"]],
    ["lia", ["Julia", "Liam", "Lia"]],
  ] as const) {
    const pages: string[][] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const path = `/v1/contacts?query=${query}&limit=1${cursor && `&cursor=${cursor}`}`;
      const { body } = await hub.call(workspace.agent, "GET", path);
      pages.push(body.data.map((contact: { display_name: string }) => contact.display_name));
      cursor = body.next_cursor;
    }
    assert.deepEqual(
      pages,
      names.map((name) => [name]),
    );
  }
});

test("an updated contact is found by its new name and addresses only", async () => {
  const workspace = await hub.openWorkspace();
  const { agent, addContact } = workspace;
  const ana = await addContact("Ana Lima", "phone:5511900000001");
  const bia = await addContact("Bia Melo", "phone:5511900000002");
  await hub.call(agent, "PATCH", `/v1/contacts/${ana}`, { display_name: "Ana Souza" });
  assert.deepEqual([await search(workspace, "lima"), await search(workspace, "souza")], [[], ["Ana Souza"]]);
  await hub.call(agent, "POST", `/v1/contacts/${ana}/addresses`, { address: "chat:ana-souza" });
  assert.deepEqual(await search(workspace, "chat:ana"), ["Ana Souza"]);
  await hub.call(agent, "DELETE", `/v1/contacts/${ana}/addresses/${encodeURIComponent("chat:ana-souza")}`);
  assert.deepEqual(await search(workspace, "chat:ana"), []);
  await hub.call(agent, "POST", `/v1/contacts/${bia}/merge`, { into: ana });
  assert.deepEqual([await search(workspace, "melo"), await search(workspace, "900000002")], [[], ["Ana Souza"]]);
  await hub.call(agent, "DELETE", `/v1/contacts/${ana}`);
  assert.deepEqual(await search(workspace, "souza"), []);
  const left = await all(hub.pool, "SELECT FROM contact_search WHERE contact_id = ANY ($1)", [[ana, bia]]);
  assert.equal(left.length, 0);
});

test("search finds no contacts of other workspaces, and can be combined with filters", async () => {
  const [ours, theirs] = [await hub.openWorkspace(), await hub.openWorkspace()];
  await theirs.addContact("Carla Dias", "phone:5511955550000");
  for (const query of ["carla", "ca", "955550000"]) assert.deepEqual(await search(ours, query), []);
  await ours.addContact("Carla Nunes", "phone:5511955550000");
  await ours.addContact("Carla Rocha", "phone:5511955550001");
  assert.deepEqual(await search(ours, "carla", "&limit=1&address=phone:5511955550000"), ["Carla Nunes"]);
});

test("rejects a search text that is too long or invalid", async () => {
  const { agent } = await hub.openWorkspace();
  for (const query of ["x".repeat(201), "%00"]) {
    const { status, body } = await hub.call(agent, "GET", `/v1/contacts?query=${query}`);
    assert.deepEqual([status, body.error.code], [400, "VALIDATION_ERROR"]);
  }
  assert.equal((await hub.call(agent, "GET", `/v1/contacts?query=${encodeURIComponent("ﷺ".repeat(200))}`)).status, 200);
});

test("a search that takes too long ends with SEARCH_TIMEOUT", async () => {
  const { agent } = await hub.openWorkspace();
  const blocker = await hub.pool.connect();
  try {
    await blocker.query("BEGIN");
    await blocker.query("LOCK TABLE contact_search IN ACCESS EXCLUSIVE MODE");
    const { status, body } = await hub.call(agent, "GET", "/v1/contacts?query=somebody");
    assert.deepEqual([status, body.error.code], [503, "SEARCH_TIMEOUT"]);
    assert.equal((await hub.call(agent, "GET", "/v1/contacts")).status, 200, "a list without a search does not wait");
  } finally {
    await blocker.query("ROLLBACK");
    blocker.release();
  }
  assert.equal((await hub.call(agent, "GET", "/v1/contacts?query=somebody")).status, 200);
});

test("among 200,000 contacts a search reads little more than what it finds", async () => {
  const workspace = await hub.openWorkspace();
  await workspace.addContact("Rare Wexler", "phone:5511977776666");
  // Without the triggers, which would take minutes for so many rows.
  await transaction(hub.pool, async (tx) => {
    await run(tx, "SET LOCAL session_replication_role = replica");
    for (let part = 0; part < 10; part += 1) {
      await run(
        tx,
        `WITH named AS MATERIALIZED (
           SELECT line, search_grams($1, line) AS grams FROM (SELECT 'p' || n AS line FROM generate_series(1000, 1999) n) l
         )
         INSERT INTO contact_search (contact_id, workspace_id, created_at, lines, grams)
         SELECT gen_random_uuid(), $1, '2026-01-01', line, grams FROM named, generate_series(1, 20)`,
        [workspace.workspaceId],
      );
    }
  });
  await using databases = openDatabases({
    url: hub.databaseUrl,
    size: 2,
    log: { info() {}, warn() {}, error() {} },
  });
  const rowsRead = (query: string, by = workspace) =>
    transaction(databases.dbOf(by.workspaceId), async (tx) => {
      const readSoFar = async () =>
        (
          await one<{ read: number }>(
            tx,
            `SELECT seq_tup_read + idx_tup_fetch AS read FROM pg_stat_xact_user_tables WHERE relname = 'contact_search'`,
          )
        ).read;
      const before = await readSoFar();
      const { length } = await all(tx, "SELECT find_contacts($1, NULL, NULL, 51)", [query]);
      return { found: length, read: (await readSoFar()) - before };
    });
  for (const [query, most] of [
    ["wexler", 1],
    ["(11) 97777-6666", 1],
    ["a name of no contact", 0],
  ] as const) {
    const { found, read } = await rowsRead(query);
    assert.ok(found === most && read < 10, `${query}: found ${found}, read ${read}`);
  }
  // A search in another workspace reads none of them.
  const stranger = await hub.openWorkspace();
  for (const query of ["p1234", "(11) 97777-6666", "p1"]) {
    const { found, read } = await rowsRead(query, stranger);
    assert.ok(found === 0 && read < 10, `${query} elsewhere: found ${found}, read ${read}`);
  }
  const twoCharacters = await rowsRead("p1");
  assert.ok(twoCharacters.found === 51 && twoCharacters.read < 1_000, JSON.stringify(twoCharacters));
});
