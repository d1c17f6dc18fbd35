/** What the database itself holds apart, with every filter of the application gone. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { deleteOldPasswordResets, deleteOldUsedValues } from "../log-in/log-in.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { issuerConfig, type LogInHub, startLogInHub } from "../testing/log-in-hub.ts";
import { startTestIssuer, type TestIssuer } from "../testing/test-issuer.ts";
import { deleteOldInvitations } from "../users/users.ts";

let hub: LogInHub;
let issuer: TestIssuer;
let rivalWorkspace: string;
let victim: string;

const opened = closeAfterTests();
before(async () => {
  issuer = opened.use(await startTestIssuer());
  hub = opened.use(await startLogInHub({ providers: [issuerConfig("acme", issuer)] }));
  const browser = hub.openBrowser();
  const { location } = await browser.send("GET", "/auth/oauth/acme");
  const person = { sub: "ana", email: "ana@example.com", email_verified: true };
  const { body } = await browser.send("GET", `/auth/oauth/acme/callback?${issuer.codeFor(location!, person)}`);
  victim = body.user_id;
  const token = (await hub.logIn("admin")).access_token;
  await hub.call("POST /v1/me/totp", { token: body.access_token });
  await hub.call(`POST /v1/users/${victim}/password-reset`, { token });
  await hub.call("POST /v1/invitations", { token, body: { email: "x@example.com", role: "member" } });
  const admin = { username: "rival", email: "rival@example.com", password: "a long enough one" };
  rivalWorkspace = (await hub.call("POST /v1/workspaces", { token, body: { name: "Rival", admin } })).body.workspace_id;
});

test("a request of another workspace sees no identity, invitation, reset or second factor", async () => {
  const db = hub.dbOf(rivalWorkspace);
  for (const table of ["login_identities", "invitations", "password_resets", "totp_secrets", "recovery_codes"]) {
    assert.deepEqual((await db.query(`SELECT * FROM ${table}`)).rows, [], table);
  }
  assert.equal((await db.query("UPDATE invitations SET revoked_at = now()")).rowCount, 0);
  assert.equal((await db.query("DELETE FROM totp_secrets")).rowCount, 0);
});

// A row with the attacker's workspace and another workspace's user would open that user's account.
test("a request of another workspace cannot write anything that logs in as a user of this one", async () => {
  const db = hub.dbOf(rivalWorkspace);
  const refused = { code: "42501" };
  await assert.rejects(
    db.query(
      `INSERT INTO password_resets (token_hash, user_id, workspace_id, created_at, expires_at)
       VALUES ('\\x00', $1, $2, now(), now() + interval '1 hour')`,
      [victim, rivalWorkspace],
    ),
    refused,
  );
  await assert.rejects(
    db.query(`INSERT INTO recovery_codes (user_id, workspace_id, code_hash) VALUES ($1, $2, '\\x00')`, [
      victim,
      rivalWorkspace,
    ]),
    refused,
  );
  for (const table of ["login_identities", "login_used_values"]) {
    await assert.rejects(db.query(`INSERT INTO ${table} SELECT * FROM ${table}`), refused, table);
  }
});

test("expired rows are deleted, and others are kept", async () => {
  const count = async () => {
    const { rows } = await hub.db.query(
      `SELECT (SELECT count(*) FROM invitations) AS invitations, (SELECT count(*) FROM password_resets) AS resets,
              (SELECT count(*) FROM login_used_values) AS used`,
    );
    return Object.values(rows[0]).map(Number);
  };
  const clear = async () => {
    const deps = { db: hub.db, clock: hub.clock };
    await Promise.all([deleteOldInvitations(deps), deleteOldPasswordResets(deps), deleteOldUsedValues(deps)]);
  };
  await clear();
  assert.deepEqual(await count(), [1, 1, 1]);
  hub.passTime(3_600_001);
  await clear();
  assert.deepEqual(await count(), [1, 0, 0]);
  hub.passTime(37 * 86_400_000);
  await clear();
  assert.deepEqual(await count(), [0, 0, 0]);
});
