import assert from "node:assert/strict";
import { before, test } from "node:test";
import { systemClock as clock } from "../lib/clock.ts";
import { openPool } from "../lib/postgres.ts";
import { Secret } from "../lib/secret.ts";
import { StartError } from "../lib/start-error.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { ensureFirstAdmin, type FirstAdminDeps } from "./first-admin.ts";
import { openPasswordHasher } from "./password.ts";

const quiet = { info() {}, warn() {}, error() {} };
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
      log: quiet,
    }),
    (db) => db.end(),
  );
});

const hasher = openPasswordHasher({ concurrency: 2 });
const deps = {
  get db() {
    return db;
  },
  clock,
  hasher,
  isOnlyProcess: false,
};
const config = { adminUsername: "root", adminPassword: null };

test("an invalid ADMIN_USERNAME stops the start with one sentence", async () => {
  const wrong = { ...deps, config: { ...config, adminUsername: "a b" } };
  await assert.rejects(
    ensureFirstAdmin(wrong),
    (error) => error instanceof StartError && /ADMIN_USERNAME/.test(error.message),
  );
});

test("one of several concurrent starts on an empty database creates the admin", async () => {
  const results = await Promise.all(Array.from({ length: 4 }, () => ensureFirstAdmin({ ...deps, config })));

  const [made, ...others] = results.sort((a, b) => Number(b.created) - Number(a.created));
  assert.ok(made?.created && made.password);
  assert.match(made.password, /^[a-z]{5}(-[a-z]{5}){3}$/);
  for (const { passwordWasShown: _, notice, ...other } of others) {
    assert.deepEqual(other, { created: false, username: "root" });
    assert.match(notice!, /^Another start has generated the password of root /);
  }
  const { rows } = await db.query(
    "SELECT username, role, password_hash, w.name, p.kind FROM users JOIN workspaces w USING (workspace_id) JOIN participants p ON p.participant_id = w.workspace_id",
  );
  assert.equal(rows.length, 1);
  const { password_hash, ...row } = rows[0];
  assert.deepEqual(row, { username: "root", role: "admin", name: "Default", kind: "workspace" });
  assert.equal(await hasher.verify(password_hash, made.password), true);
});

test("a later start changes nothing, and says so when ADMIN_PASSWORD is another password", async () => {
  const made = await freshAdmin({ adminPassword: new Secret("the first password") });
  assert.equal(made.admin.notice, undefined);
  for (const [adminUsername, adminPassword, notice] of [
    ["root", "the first password", undefined],
    ["ROOT", "another password", /no effect: .* ROOT has another password\. .*admin reset-password ROOT$/],
    ["somebody", "another password", /no effect: .* no user somebody\.$/],
  ] as const) {
    const later = await made.again({ adminUsername, adminPassword: new Secret(adminPassword) });
    assert.equal(later.created, false);
    assert.equal(later.password, undefined);
    if (notice === undefined) assert.equal(later.notice, undefined);
    else assert.match(later.notice!, notice);
  }
  assert.equal(await made.isPassword("the first password"), true);
});

test("a generated password is replaced at every start until one was shown", async () => {
  const made = await freshAdmin();
  const second = await made.again();
  assert.ok(second.password && second.password !== made.admin.password);
  assert.equal(await made.isPassword(second.password), true);
  // Too late: the password was replaced.
  await made.admin.passwordWasShown();
  const third = await made.again();
  assert.equal(await made.isPassword(third.password!), true);
  const { rows } = await made.db.query("SELECT action, actor_kind FROM audit_log WHERE position > 1 ORDER BY position");
  assert.deepEqual(
    rows.map(({ action, actor_kind }) => `${action} by ${actor_kind}`),
    ["user.created by system", "password.reset by system", "password.reset by system"],
  );
  await third.passwordWasShown();
  assert.equal((await made.again()).password, undefined);
  assert.equal(await made.isPassword(third.password!), true);
});

test("ADMIN_PASSWORD replaces a password that was never shown", async () => {
  const made = await freshAdmin();
  const second = await made.again({ adminPassword: new Secret("chosen at last") });
  assert.deepEqual([second.password, second.notice], [undefined, undefined]);
  assert.equal(await made.isPassword("chosen at last"), true);
  assert.equal((await made.again()).password, undefined);
});

test("a password that was used or changed is never replaced, shown or not", async () => {
  const used = await freshAdmin();
  await used.db.query(
    `INSERT INTO sessions (session_id, user_id, family_hash, refresh_hash, expires_at, created_at)
     SELECT gen_random_uuid(), user_id, '\\x01', '\\x01', now() + interval '1 day', now() FROM users`,
  );
  assert.equal((await used.again()).password, undefined);
  assert.equal(await used.isPassword(used.admin.password!), true);
  const changed = await freshAdmin();
  await changed.db.query("UPDATE users SET password_hash = $1", [await hasher.hash("set by an emailed link")]);
  assert.equal((await changed.again()).password, undefined);
  assert.equal(await changed.isPassword("set by an emailed link"), true);
});

test("when other processes may be starting, a password is replaced only after a minute", async () => {
  const made = await freshAdmin();
  const early = await made.again({}, { isOnlyProcess: false });
  assert.equal(early.password, undefined);
  assert.match(early.notice!, /start again in a minute, or run npm start -- admin reset-password root\.$/);
  assert.equal(await made.isPassword(made.admin.password!), true);
  await made.db.query("UPDATE unseen_passwords SET created_at = created_at - interval '61 s'");
  const later = await made.again({}, { isOnlyProcess: false });
  assert.equal(await made.isPassword(later.password!), true);
  assert.equal(later.notice, undefined);
  await later.passwordWasShown();
  assert.equal((await made.again({}, { isOnlyProcess: false })).notice, undefined);
});

/** The admin of a fresh database. */
async function freshAdmin(more: Partial<FirstAdminDeps["config"]> = {}) {
  const own = opened.use(await createTestDatabase());
  const pool = opened.adopt(
    openPool({ url: own.url, size: 2, applicationName: "first admin test", log: quiet }),
    (pool) => pool.end(),
  );
  const again = (change: Partial<FirstAdminDeps["config"]> = {}, others: Partial<FirstAdminDeps> = {}) =>
    ensureFirstAdmin({ db: pool, clock, hasher, isOnlyProcess: true, config: { ...config, ...change }, ...others });
  const admin = await again(more);
  async function isPassword(password: string) {
    const { rows } = await pool.query("SELECT password_hash FROM users");
    return hasher.verify(rows[0].password_hash, password);
  }
  return { db: pool, admin, again, isPassword };
}
