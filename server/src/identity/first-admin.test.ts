import assert from "node:assert/strict";
import { before, test } from "node:test";
import { systemClock as clock } from "../lib/clock.ts";
import { openPool } from "../lib/postgres.ts";
import { Secret } from "../lib/secret.ts";
import { StartError } from "../lib/start-error.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { ensureFirstAdmin } from "./first-admin.ts";
import { openPasswordHasher } from "./password.ts";

let database: TestDatabase;
let db: ReturnType<typeof openPool>;
const opened = closeAfterTests();
before(async () => {
  database = opened.use(await createTestDatabase());
  db = opened.adopt(
    openPool({
      url: database.url,
      size: 5,
      applicationName: "first admin test",
      log: { info() {}, warn() {}, error() {} },
    }),
    (db) => db.end(),
  );
});

const hasher = openPasswordHasher({ concurrency: 2, queueSize: 10 });
const config = { adminUsername: "root", adminPassword: null };

test("a name that cannot be a username stops the start with one sentence", async () => {
  const wrong = { db, clock, hasher, config: { ...config, adminUsername: "a b" } };
  await assert.rejects(
    ensureFirstAdmin(wrong),
    (error) => error instanceof StartError && /ADMIN_USERNAME/.test(error.message),
  );
});

test("of several processes that start at once on an empty database one makes the admin", async () => {
  const results = await Promise.all(Array.from({ length: 4 }, () => ensureFirstAdmin({ db, clock, hasher, config })));

  const [made, ...others] = results.sort((a, b) => Number(b.created) - Number(a.created));
  assert.ok(made?.created && made.password);
  assert.match(made.password, /^[a-z]{5}(-[a-z]{5}){3}$/);
  for (const other of others) assert.deepEqual(other, { created: false, username: "root" });
  const { rows } = await db.query(
    "SELECT username, role, password_hash, w.name, p.kind FROM users JOIN workspaces w USING (workspace_id) JOIN participants p ON p.participant_id = w.workspace_id",
  );
  assert.equal(rows.length, 1);
  const { password_hash, ...row } = rows[0];
  assert.deepEqual(row, { username: "root", role: "admin", name: "Default", kind: "workspace" });
  assert.equal(await hasher.verify(password_hash, made.password), true);
});

test("a later start changes nothing, whatever the configuration says by then", async () => {
  const later = { adminUsername: "somebody", adminPassword: new Secret("another password") };
  assert.equal((await ensureFirstAdmin({ db, clock, hasher, config: later })).created, false);
});
