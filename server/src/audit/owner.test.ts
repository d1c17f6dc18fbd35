import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { newId } from "../lib/ids.ts";
import { migrate } from "../lib/migrations.ts";
import { type Log, openPool, transaction, withSettings } from "../lib/postgres.ts";
import { openScopes } from "../lib/scoped-pool.ts";
import { createTestDatabase } from "../testing/test-database.ts";
import { recordAuditEvent, systemOf, verifyAuditLog } from "./audit.ts";

const log: Log = { info() {}, warn() {}, error: console.error };

/** As on a managed server: the policies of row-level security apply to the owner of the tables too. */
test("audit events are recorded in a database whose owner is not a superuser", async () => {
  await using database = await createTestDatabase();
  const name = `c4a_owner_${randomBytes(6).toString("hex")}`;
  await using stack = new AsyncDisposableStack();
  const open = (url: string) => {
    const pool = openPool({ url, size: 2, applicationName: "audit test", log });
    return stack.adopt(pool, () => pool.end());
  };
  const superuser = open(database.url);
  await superuser.query(`CREATE ROLE ${name} LOGIN CREATEROLE PASSWORD 'for this test'`);
  stack.defer(async () => {
    await superuser.query(`DROP OWNED BY ${name} CASCADE`);
    await superuser.query(`DROP ROLE ${name}`);
  });
  // Roles are of the whole server, and here they exist already.
  await superuser.query(`GRANT chat4all_api, chat4all_identity, chat4all_pipeline TO ${name} WITH ADMIN OPTION`);
  await superuser.query(`CREATE SCHEMA theirs AUTHORIZATION ${name}`);
  await superuser.query(`GRANT CREATE ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${name}`);
  const own = new URL(database.url);
  own.username = name;
  own.password = "for this test";
  const url = withSettings(own.href, ["search_path=theirs"]);
  const owner = open(url);
  await migrate(owner, { log });

  const id = newId(Date.now());
  const pipeline = open(withSettings(url, ["role=chat4all_pipeline"]));
  const api = openScopes(open(withSettings(url, ["role=chat4all_api"])), "chat4all.workspace_id")(id);
  await pipeline.query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'w', now())", [id]);
  await transaction(api, (tx) => recordAuditEvent(tx, systemOf(id), { action: "thing.done" }));
  const found: object[] = [];
  await verifyAuditLog(pipeline, {}, ({ records, problem }) => found.push({ records, problem }));
  assert.deepEqual(found, [{ records: 2, problem: null }]);

  // A member of the role of the pipeline has its policies too: with DATABASE_URL one sees all rows (ADR 0016).
  const { rows } = await owner.query("SELECT name, current_setting('role') AS role FROM workspaces");
  assert.deepEqual(rows, [{ name: "w", role: "none" }]);
});
