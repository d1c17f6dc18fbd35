import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { before, beforeEach, test } from "node:test";
import { type Databases, openDatabases } from "./databases.ts";
import { openPool, type Pool } from "./lib/postgres.ts";
import { reseal } from "./lib/reseal.ts";
import { namedKey, openSecretBox } from "./lib/secret-box.ts";
import { requireKeys, sealedColumns } from "./sealed-columns.ts";
import { closeAfterTests } from "./testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "./testing/test-database.ts";

const quiet = { info() {}, warn() {}, error: console.error };
const [first, second, stranger] = [randomBytes(32), randomBytes(32), randomBytes(32)].map(namedKey) as [
  ReturnType<typeof namedKey>,
  ReturnType<typeof namedKey>,
  ReturnType<typeof namedKey>,
];
const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

let database: TestDatabase;
let databases: Databases;
let owner: Pool & { end(): Promise<void> };
const closing = closeAfterTests();
before(async () => {
  database = closing.use(await createTestDatabase());
  owner = openPool({ url: database.url, size: 2, applicationName: "sealed test", log: quiet });
  closing.defer(() => owner.end());
  databases = closing.use(openDatabases({ url: database.url, size: 2, log: quiet }));
  const at = "2026-01-01";
  await owner.query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'w', $2)", [id(1), at]);
  for (const n of [2, 3]) {
    const row = [id(n), id(1), at];
    await owner.query("INSERT INTO participants VALUES ($1, $2, 'user', 'u', $3)", row);
    await owner.query(
      `INSERT INTO users (user_id, workspace_id, username, email, role, created_at)
       VALUES ($1::uuid, $2, $1::text, $1::text, 'member', $3)`,
      row,
    );
  }
});
beforeEach(async () => {
  const at = "2026-01-01";
  await owner.query("TRUNCATE channel_accounts, webhook_endpoints, totp_secrets, idempotency_keys CASCADE");
  await owner.query("UPDATE users SET llm_api_key_sealed = NULL");
  await owner.query(
    `INSERT INTO channel_accounts (channel_account_id, workspace_id, channel, name, status, external_id, credentials_sealed, created_at)
     SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, 'c', 'n', 'active', n, '', $2
       FROM generate_series(10, 1209) AS n`,
    [id(1), at],
  );
  await owner.query(
    `INSERT INTO webhook_endpoints (webhook_endpoint_id, workspace_id, url, events, is_ordered, status, starts_after, secret_sealed, created_at)
     VALUES ($1, $2, 'https://a.example', '{*}', false, 'enabled', 0, '', $3)`,
    [id(4), id(1), at],
  );
  await owner.query(
    "INSERT INTO totp_secrets (user_id, workspace_id, secret_sealed, created_at) VALUES ($1, $2, '', $3)",
    [id(2), id(1), at],
  );
  await owner.query(
    "INSERT INTO idempotency_keys (workspace_id, caller_id, key, body_hash_sealed, created_at) VALUES ($1, $2, 'a key', '', $3)",
    [id(1), id(2), at],
  );
});

/** Every row of every column, by what identifies it. */
async function rowsOf({ table, key, column }: (typeof sealedColumns)[number]) {
  const { rows } = await owner.query(
    `SELECT ARRAY[${key.map((name) => `${name}::text`).join(", ")}] AS key, ${column} AS sealed FROM ${table} ORDER BY 1`,
  );
  return rows as { key: string[]; sealed: Buffer | null }[];
}

/** Seals something of its own into every row, but for one that holds nothing. */
async function fill(keys: Parameters<typeof openSecretBox>[0]): Promise<void> {
  const box = openSecretBox(keys);
  for (const column of sealedColumns) {
    for (const row of (await rowsOf(column)).filter((row) => row.key[0] !== id(3))) {
      const where = column.key.map((name, index) => `${name} = $${index + 2}`).join(" AND ");
      const sealed = box.seal(`secret of ${row.key}`, column.contextOf(...row.key));
      await owner.query(`UPDATE ${column.table} SET ${column.column} = $1 WHERE ${where}`, [sealed, ...row.key]);
    }
  }
}

async function openAll(keys: Parameters<typeof openSecretBox>[0]): Promise<number> {
  const box = openSecretBox(keys);
  let opened = 0;
  for (const column of sealedColumns) {
    for (const { key, sealed } of (await rowsOf(column)).filter(
      (row) => row.sealed !== null && row.sealed.length > 0,
    )) {
      assert.equal(box.open(sealed!, column.contextOf(...key)), `secret of ${key}`);
      opened += 1;
    }
  }
  return opened;
}

test("every encrypted column of the schema is listed", async () => {
  const { rows } = await owner.query(
    "SELECT table_name || '.' || column_name AS name FROM information_schema.columns WHERE table_schema = 'public' AND column_name LIKE '%\\_sealed'",
  );
  assert.deepEqual(
    rows.map(({ name }) => name).sort(),
    sealedColumns.map(({ table, column }) => `${table}.${column}`).sort(),
  );
});

test("after a key rotation everything is encrypted with the new key, and the old one can be removed", async () => {
  await fill([first]);
  const both = [second, first];
  const count = await openAll(both);
  assert.equal(count, 1200 + 2 + 1 + 1 + 2);

  const results = await reseal(databases.pipelineDb, openSecretBox(both), sealedColumns);

  assert.equal(
    results.reduce((sum, { resealed }) => sum + resealed, 0),
    count,
  );
  assert.equal(await openAll([second]), count);
  const again = await reseal(databases.pipelineDb, openSecretBox(both), sealedColumns);
  assert.deepEqual(new Set(again.map(({ resealed, failed }) => resealed + failed)), new Set([0]));
});

test("values that cannot be decrypted are counted and left as they are", async () => {
  await fill([first]);
  const moved =
    "UPDATE channel_accounts SET credentials_sealed = (SELECT credentials_sealed FROM channel_accounts WHERE channel_account_id = $1) WHERE channel_account_id = $2";
  await owner.query(moved, [id(10), id(700)]);

  const [credentials] = await reseal(databases.pipelineDb, openSecretBox([second, first]), sealedColumns);

  assert.deepEqual(credentials, { table: "channel_accounts", column: "credentials_sealed", resealed: 1199, failed: 1 });
});

test("a hub with a wrong key does not start and says which key it needs; with the right key added it starts", async () => {
  const check = (...keys: (typeof first)[]) => requireKeys(databases.pipelineDb, openSecretBox(keys));
  await check(stranger);
  await fill([first]);
  await check(first);
  await check(stranger, first);
  await assert.rejects(check(stranger), (error: Error) => {
    assert.equal(error.name, "StartError");
    assert.match(
      error.message,
      /^ENCRYPTION_KEY is not the key .*channel_accounts\.credentials_sealed.*users\.llm_api_key/,
    );
    return true;
  });
});
