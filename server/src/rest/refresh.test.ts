import assert from "node:assert/strict";
import { before, test } from "node:test";
import { refreshGraceMs } from "../credentials/credentials.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
});

const refresh = (refresh_token: string, at = hub.call) => at("POST /auth/refresh", { body: { refresh_token } });

async function isOver(session: { refresh_token: string; access_token: string }): Promise<void> {
  const { status, body } = await refresh(session.refresh_token);
  assert.deepEqual([status, body.error.code], [401, "AUTH_INVALID"]);
  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).body.error.code, "AUTH_INVALID");
}

test("a refresh token works once: reuse after the grace period ends the session", async () => {
  const session = await hub.logIn("admin");
  const { status, body: refreshed } = await refresh(session.refresh_token);
  assert.equal(status, 200);
  assert.notEqual(refreshed.refresh_token, session.refresh_token);
  assert.equal((await hub.call("GET /v1/me", { token: refreshed.access_token })).status, 200);

  hub.passTime(refreshGraceMs);
  const again = await refresh(session.refresh_token);

  assert.deepEqual([again.status, again.body.error.code], [401, "AUTH_INVALID"]);
  await isOver(refreshed);
  assert.equal((await hub.call("GET /v1/me", { token: session.access_token })).status, 401);
});

test("a client that lost the response can retry within 10 s and gets the same working successor", async () => {
  const session = await hub.logIn("admin");
  const lost = await refresh(session.refresh_token);
  hub.passTime(refreshGraceMs - 1);

  // The next try may reach another process.
  const again = await refresh(session.refresh_token, hub.sibling);

  assert.equal(again.status, 200);
  assert.equal(again.body.refresh_token, lost.body.refresh_token);
  assert.equal((await hub.call("GET /v1/me", { token: again.body.access_token })).status, 200);
  assert.equal((await refresh(again.body.refresh_token)).status, 200);
});

test("20 concurrent refreshes of one token get the same successor", async () => {
  const session = await hub.logIn("admin");
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => refresh(session.refresh_token, n % 2 === 0 ? hub.call : hub.sibling)),
  );

  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  const successors = new Set(answers.map(({ body }) => body.refresh_token));
  assert.equal(successors.size, 1);
  assert.equal((await refresh([...successors][0])).status, 200);
});

// The thief may come first or second; the next refresh with the older token ends the session for both.
test("once the successor was used, reuse of the token before it ends the session, also within the grace period", async () => {
  const session = await hub.logIn("admin");
  const first = (await refresh(session.refresh_token)).body;
  const second = (await refresh(first.refresh_token)).body;

  const thief = await refresh(session.refresh_token);

  assert.deepEqual([thief.status, thief.body.error.code], [401, "AUTH_INVALID"]);
  await isOver(second);
});

test("two holders of the same token cannot both keep the session", async () => {
  const session = await hub.logIn("admin");
  const owner = (await refresh(session.refresh_token)).body;
  const thief = (await refresh(session.refresh_token)).body;
  assert.equal(thief.refresh_token, owner.refresh_token);

  hub.passTime(3_600_000);
  const thiefsNext = (await refresh(thief.refresh_token)).body;
  hub.passTime(refreshGraceMs + 60_000);
  assert.equal((await refresh(owner.refresh_token)).status, 401);

  await isOver(thiefsNext);
});

// A thief may come back with a token that is many refreshes old.
test("the reuse of a token from several refreshes ago ends the session", async () => {
  const session = await hub.logIn("admin");
  let newest = session;
  for (let turn = 0; turn < 3; turn += 1) newest = (await refresh(newest.refresh_token)).body;
  await refresh(session.refresh_token);

  await isOver(newest);
});

test("a used token of an ended session is refused", async () => {
  const session = await hub.logIn("admin");
  const { body } = await refresh(session.refresh_token);
  await hub.call("POST /auth/logout", { token: body.access_token });
  assert.equal((await refresh(session.refresh_token)).status, 401);
});

test("neither the database row nor a used token alone reveals the successor", async () => {
  const session = await hub.logIn("admin");
  const { body } = await refresh(session.refresh_token);
  const { rows } = await hub.db.query("SELECT * FROM sessions");
  const kept = JSON.stringify(rows.map((row) => Object.values(row).map(String)));
  for (const token of [session.refresh_token, body.refresh_token]) {
    assert.ok(!kept.includes(token) && !kept.includes(Buffer.from(token).toString("hex")));
  }
});
