/**
 * Row-level security, with rows of every kind in two workspaces: what the database itself keeps apart, when statements
 * do not name a workspace, and when the hub's own statements have lost their conditions on it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { before, describe, test } from "node:test";
import { ApiError } from "../client/src/client.ts";
import { type Databases, openDatabases } from "../server/src/databases.ts";
import type { Pool, PoolClient } from "../server/src/lib/postgres.ts";
import { Acceptor } from "../server/src/messages/messages.ts";
import { openRest } from "../server/src/rest/rest.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { authorizationTable, type Request, type Row } from "./src/authorization-table.ts";
import { fillWorkspace } from "./src/fill-workspace.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { changedTables, type Owner, openOwner, quietEndpoints, takeSnapshot } from "./src/owned-rows.ts";
import { type OwnedTable, ownedTables } from "./src/owned-tables.ts";
import { keptThings, newThings, type Things } from "./src/things.ts";
import { openStripping } from "./src/without-filters.ts";
import { anotherWorkspace, firstWorkspace, openReceiver, text, type Workspace } from "./src/workspace.ts";

const opened = closeAfterTests();
let hub: TestHub;
let owner: Owner;
let databases: Databases;
let tables: OwnedTable[];
let ours: Workspace;
let theirs: Workspace;
let theirThings: Things;

before(async () => {
  const port = String(await freePort());
  // The hub sets the webhook of their bot.
  const env = { WEBHOOKS_ALLOW_PRIVATE: "true", PORT: port, PUBLIC_URL: `http://127.0.0.1:${port}` };
  // In the last test, without policies, foreign keys refuse some rows.
  hub = opened.use(
    await startTestHub({
      env,
      expectedErrors: /_of_workspace|tasks_workspace_id_file_id_fkey|events of another workspace/,
    }),
  );
  owner = opened.use(await openOwner(hub.databaseUrl));
  databases = opened.use(openDatabases({ url: hub.databaseUrl, size: 4, log: hub.log.logger }));
  const receiver = opened.use(await openReceiver());
  [ours, theirs] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  theirThings = keptThings(newThings(theirs, receiver.url));
  await fillWorkspace(ours, keptThings(newThings(ours, receiver.url)), owner);
  await hub.settled();
  await fillWorkspace(theirs, theirThings, owner);
  await hub.settled();
  await quietEndpoints(hub, owner, [ours, theirs]);
  tables = await ownedTables(owner);
});

describe("statements that name no workspace", () => {
  test("both workspaces have rows in every table", async () => {
    assert.ok(tables.length >= 20);
    for (const table of tables) {
      for (const { workspaceId } of [ours, theirs]) {
        assert.notEqual((await rowsOf(table, workspaceId)).size, 0, `${table.name} has no row of ${workspaceId}`);
      }
    }
  });

  test("reading finds all rows of the own workspace and no others", async () => {
    for (const { workspaceId } of [ours, theirs]) {
      const db = databases.dbOf(workspaceId);
      for (const table of tables) {
        assert.deepEqual(await visible(db, table), await rowsOf(table, workspaceId), table.name);
      }
    }
  });

  test("updates and deletes affect only the rows of the own workspace", async () => {
    for (const table of tables) {
      const mine = (await rowsOf(table, ours.workspaceId)).size;
      const before = await rowsOf(table, theirs.workspaceId);
      for (const statement of [
        `UPDATE ${table.name} SET ${table.column} = ${table.column}`,
        `DELETE FROM ${table.name}`,
      ]) {
        const isGranted = table.grants.includes(statement.split(" ")[0]!);
        await tryOut(databases.dbOf(ours.workspaceId), async (tx) => {
          if (isGranted) assert.equal((await tx.query(statement)).rowCount, mine, statement);
          else await assert.rejects(tx.query(statement), /permission denied/, statement);
        });
      }
      assert.deepEqual(await rowsOf(table, theirs.workspaceId), before);
    }
  });

  test("a row cannot be written into another workspace, nor moved to one", async () => {
    const refused = { code: "42501" };
    for (const { name, workspace, grants, writable } of tables) {
      const [row] = await owner.all<{ row: Record<string, unknown> }>(
        `SELECT to_jsonb(t) AS row FROM ${name} t WHERE ${workspace} = $1 LIMIT 1`,
        [theirs.workspaceId],
      );
      await tryOut(databases.dbOf(ours.workspaceId), async (tx) => {
        const text = `INSERT INTO ${name} (${writable}) OVERRIDING SYSTEM VALUE
          SELECT ${writable} FROM jsonb_populate_record(NULL::${name}, $1)`;
        await assert.rejects(tx.query(text, [row!.row]), refused, `INSERT INTO ${name}`);
      });
      if (!grants.includes("UPDATE") || workspace !== "t.workspace_id") continue;
      await tryOut(databases.dbOf(ours.workspaceId), (tx) =>
        assert.rejects(tx.query(`UPDATE ${name} SET workspace_id = $1`, [theirs.workspaceId]), refused, name),
      );
    }
  });

  test("a participant cannot join a conversation of another workspace, nor an address be given to a participant there", async () => {
    const conversation = await theirThings.conversation();
    const contact = await theirThings.contact();
    const db = databases.dbOf(ours.workspaceId);
    await tryOut(db, async (tx) => {
      await tx.query("INSERT INTO members (conversation_id, participant_id, joined_at) VALUES ($1, $2, now())", [
        conversation,
        ours.member.userId,
      ]);
      await assert.rejects(tx.query("SET CONSTRAINTS ALL IMMEDIATE"), { code: "42501" });
    });
    await tryOut(db, (tx) =>
      assert.rejects(
        tx.query(
          `INSERT INTO addresses (workspace_id, channel, identifier, participant_id, created_at)
           VALUES ($1, 'telegram', '1', $2, now())`,
          [ours.workspaceId, contact],
        ),
        { code: "42501" },
      ),
    );
  });

  test("the policies cannot be bypassed", async () => {
    const db = databases.dbOf(ours.workspaceId);
    const conversation = await theirThings.conversation();
    for (const [statement, why] of [
      ["SET LOCAL row_security = off; SELECT FROM messages", /row-level security policy/],
      ["ALTER TABLE messages DISABLE ROW LEVEL SECURITY", /must be owner/],
      ["CREATE POLICY open ON messages USING (true)", /must be owner/],
      ["CREATE TABLE messages_copy AS SELECT * FROM messages", /permission denied/],
      ["TRUNCATE messages", /permission denied/],
      ["LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE", /permission denied/],
      ["SELECT * FROM bus_records", /permission denied/],
      ["SELECT * FROM schema_migrations", /permission denied/],
      [`SELECT append_events(ARRAY['${theirs.workspaceId}'::uuid], ARRAY[1], ARRAY['[]'])`, /permission denied/],
      [`SELECT tell_conversation('${conversation}', 'updated', NULL)`, /permission denied/],
      [
        "SELECT bus_append('elsewhere', ARRAY[0], ARRAY[1], ARRAY['[]'])",
        /publishes nothing on the bus topic elsewhere/,
      ],
      [
        `SELECT append_to_audit_log('${theirs.workspaceId}', 'system', NULL, 'a.b', NULL, NULL, '{}', NULL, NULL)`,
        /in its own workspace only/,
      ],
      ["CREATE FUNCTION current_workspace() RETURNS uuid LANGUAGE sql RETURN NULL::uuid", /permission denied/],
    ] as const) {
      await tryOut(db, (tx) => assert.rejects(tx.query(statement), why, statement));
    }
    // A table of one's own in the place of the hub's, for a function that acts as the owner.
    await tryOut(db, async (tx) => {
      await tx.query("CREATE TEMP TABLE bus_heads (topic text, partition integer, next_offset bigint)");
      await tx.query("INSERT INTO bus_heads VALUES ('message_processing', 0, 7)");
      await tx.query("SELECT bus_append('message_processing', ARRAY[0], ARRAY[1], ARRAY['[]'])");
      const { rows } = await tx.query("SELECT next_offset FROM pg_temp.bus_heads");
      assert.deepEqual(rows, [{ next_offset: 7 }]);
    });
  });

  test("a connection without a workspace, or with one that does not exist, sees nothing", async () => {
    for (const scope of ["", randomUUID()]) {
      for (const table of tables) assert.equal((await visible(databases.dbOf(scope), table)).size, 0, table.name);
    }
    const [settings] = await owner.all<{ scope: string | null }>(
      "SELECT current_setting('chat4all.workspace_id', true) AS scope",
    );
    assert.equal(settings!.scope, null, "the setting is the connection's own");
  });
});

describe("the hub's own statements without their conditions on the workspace", () => {
  const stripping = openStripping();
  let url: string;

  before(async () => {
    const { context } = hub.hub;
    const { config, bus, eventNotifier, clock } = context;
    const acceptDbOf = (workspaceId: string) => stripping.wrap(databases.acceptDbOf(workspaceId));
    const acceptor = new Acceptor({ dbOf: acceptDbOf, bus, eventNotifier, clock, ...config.accept });
    const dbOf = (workspaceId: string) => stripping.wrap(databases.dbOf(workspaceId));
    const operations = { dependencies: [], phase: () => "ready" as const };
    const app = await openRest({ ...context, dbOf, acceptor }, { operations, admitStream: null, hasApi: true });
    opened.defer(() => app.close());
    await app.listen({ port: 0, host: "127.0.0.1" });
    url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  });

  test("no route shows or changes anything of another workspace", async () => {
    assert.deepEqual(await leaks(), []);
    assert.ok(stripping.stripped.size > 30, `only ${stripping.stripped.size} statements lost their condition`);
  });

  test("a message into a conversation of another workspace is refused, and nothing is written", async () => {
    const before = await takeSnapshot(owner);
    const conversation_id = await theirThings.conversation();
    const reply_to = await theirThings.message();
    const own = await ours.admin.client.conversations.list();
    for (const body of [
      { conversation_id, payload: text("Hello there") },
      { conversation_id, from: theirs.member.userId, payload: text("As one of them") },
      { conversation_id: own.data[0]!.conversation_id, from: theirs.member.userId, payload: text("As one of them") },
      { conversation_id: own.data[0]!.conversation_id, reply_to, payload: text("To what they said") },
    ]) {
      const { status } = await call("POST /v1/messages", { body });
      assert.ok(status === 404 || status === 400 || status === 403, `${status} for ${JSON.stringify(body)}`);
    }
    assert.deepEqual(changedTables(before, await takeSnapshot(owner)), []);
  });

  // Last: the database is of no use afterwards.
  test("without the policies the same calls leak, so the check can fail", async () => {
    for (const { name } of tables) await owner.all(`ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY`);
    const found = await leaks();
    assert.ok(found.length > 20, `only ${found.length} leaks: ${found.join(", ")}`);
    for (const route of ["GET /v1/contacts", "GET /v1/conversations/{id}/messages", "DELETE /v1/users/{id}"]) {
      assert.ok(
        found.some((leak) => leak.startsWith(route)),
        `${route} did not leak`,
      );
    }
  });

  /** What our admin learns or does by calling every route with ids of theirs. */
  async function leaks(): Promise<string[]> {
    const secrets = await idsOfTheirs();
    const found: string[] = [];
    for (const [route, { access, call: make, stranger }] of Object.entries(authorizationTable)) {
      // Workspaces are shown to the admins of the first: see GET /v1/workspaces.
      const isTheirBusiness = access === "public" || route.endsWith("/v1/workspaces");
      if (isTheirBusiness || (stranger === "own" && !route.startsWith("GET "))) continue;
      const request = await requestOf(make!);
      if (request === null) {
        found.push(`${route} has nothing left to name`);
        continue;
      }
      const before = await takeSnapshot(owner);
      const { status, said } = await call(route, request);
      const expected = stranger === "own" ? 200 : stranger;
      if (status !== expected) found.push(`${route} got ${status}`);
      const named = JSON.stringify(request);
      const leaked = [...secrets].find((id) => said.includes(id) && !named.includes(id));
      if (leaked !== undefined) found.push(`${route} shows ${leaked}`);
      const changed = stranger === "own" ? [] : changedTables(before, await takeSnapshot(owner));
      if (changed.length > 0) found.push(`${route} changes ${changed.join(", ")}`);
    }
    return found;
  }

  /** Null when what it names was deleted by a call before. */
  async function requestOf(make: NonNullable<Row["call"]>): Promise<Request | null> {
    try {
      return await make({ workspace: theirs, things: theirThings, userId: theirs.member.userId });
    } catch (error) {
      if (error instanceof ApiError && error.code === "RESOURCE_NOT_FOUND") return null;
      throw error;
    }
  }

  async function call(route: string, { params = {}, query = {}, body }: Request) {
    const [method, path] = route.split(" ") as [string, string];
    const filled = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => encodeURIComponent(params[name]!));
    const answer = await fetch(`${url}${filled}?${new URLSearchParams(query)}`, {
      method,
      headers: {
        authorization: `Bearer ${ours.admin.token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, said: await answer.text() };
  }
});

/** Every id that stands in a row of theirs, and in none of ours. */
async function idsOfTheirs(): Promise<Set<string>> {
  const ids = async ({ workspaceId }: Workspace) => {
    const found = new Set<string>();
    for (const { name, workspace } of tables) {
      const text = `SELECT to_jsonb(t)::text AS row FROM ${name} t WHERE ${workspace} = $1`;
      for (const { row } of await owner.all<{ row: string }>(text, [workspaceId])) {
        for (const [id] of row.matchAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g)) found.add(id);
      }
    }
    return found;
  };
  return (await ids(theirs)).difference(await ids(ours));
}

/** Places of the table's rows that are of the workspace, as the owner of the schema sees them. */
async function rowsOf({ name, workspace }: OwnedTable, workspaceId: string): Promise<Set<string>> {
  const text = `SELECT ctid::text AS place FROM ${name} t WHERE ${workspace} = $1`;
  return new Set((await owner.all<{ place: string }>(text, [workspaceId])).map(({ place }) => place));
}

async function visible(db: Pool, { name }: OwnedTable): Promise<Set<string>> {
  const { rows } = await db.query<{ place: string }>(`SELECT ctid::text AS place FROM ${name}`);
  return new Set(rows.map(({ place }) => place));
}

/** In a transaction that leaves nothing behind. */
async function tryOut(db: Pool, work: (tx: PoolClient) => Promise<void>): Promise<void> {
  const client = await db.connect();
  try {
    await client.query("BEGIN");
    await work(client);
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}
