import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { type LogInDeps, logIn } from "../identity/log-in.ts";
import { deleteOldTries, longestPauseMs, openLogInTries } from "../identity/log-in-tries.ts";
import { openPasswordHasher } from "../identity/password.ts";
import type { Pool } from "../lib/postgres.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type Answer, adminPassword, type IdentityHub, startIdentityHub } from "./identity-test-hub.ts";

let hub: IdentityHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
});
beforeEach(() => hub.db.query("DELETE FROM log_in_tries"));

const tryAs = (username: string, password = "wrong password", at = hub.call) =>
  at("POST /auth/token", { body: { username, password } });

/** What tells one answer from another, for whoever looks from outside. */
function seen({ status, headers, body }: Answer) {
  return { status, retryAfter: headers.get("retry-after"), error: { ...body.error, request_id: "" } };
}

async function failUntilPaused(username: string): Promise<void> {
  for (let n = 0; n < 5; n += 1) assert.equal((await tryAs(username)).status, 401);
}

test("after five failures each further one doubles the pause, from a second to 15 minutes", async () => {
  await failUntilPaused("admin");
  const pauses: number[] = [];
  for (let n = 0; n < 12; n += 1) {
    const refused = await tryAs("admin");
    assert.deepEqual([refused.status, refused.body.error.code], [429, "RATE_LIMIT_EXCEEDED"]);
    const pause = Number(refused.headers.get("retry-after"));
    pauses.push(pause);
    hub.passTime(pause * 1000);
    assert.equal((await tryAs("admin")).status, 401);
  }
  assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
});

// Time on a shared machine proves nothing in either direction: the work is what takes the time.
test("an unknown user, one without a password and a wrong password get the same answer after the same work", async () => {
  const { body } = await hub.call("POST /auth/register", {
    body: { username: "provider-only", email: "p@example.com", password: "a long enough one" },
  });
  await hub.db.query("UPDATE users SET password_hash = NULL WHERE user_id = $1", [body.user.user_id]);
  const works: unknown[] = [];
  const answers: unknown[] = [];
  for (const username of ["admin", "nobody", "provider-only"]) {
    const work = { statements: 0, passwords: [] as number[] };
    works.push(work);
    await logIn(counted(work), { ip: "192.0.2.1", requestId: null }, { username, password: "wrong password" }).catch(
      ({ code, message, details, retryAfterSeconds }) => answers.push({ code, message, details, retryAfterSeconds }),
    );
  }
  assert.deepEqual(works.slice(1), [works[0], works[0]]);
  assert.deepEqual(answers.slice(1), [answers[0], answers[0]]);
  assert.deepEqual((works[0] as { passwords: number[] }).passwords.length, 1);
});

/** The parts of a log-in, which note what they are asked: statements, and the cost of each password in KiB. */
function counted(work: { statements: number; passwords: number[] }): LogInDeps {
  const hasher = openPasswordHasher({ concurrency: 1, queueSize: 1 });
  const query = (...statement: unknown[]) => {
    work.statements += 1;
    return Reflect.apply(hub.db.query, hub.db, statement);
  };
  const db = { connect: () => hub.db.connect(), query } as unknown as Pool;
  return {
    db,
    clock: hub.clock,
    tokens: hub.tokens,
    tries: openLogInTries({ db, clock: hub.clock }),
    secondFactor: async () => {},
    hasher: {
      ...hasher,
      inTurn: (turn) =>
        hasher.inTurn((verify) =>
          turn((hashed, password) => {
            work.passwords.push(Number(/m=(\d+)/.exec(hashed ?? "m=19456")![1]));
            return verify(hashed, password);
          }),
        ),
    },
  };
}

test("within the pause the right password is refused too, and after it lets in and forgets the failures", async () => {
  await failUntilPaused("admin");
  assert.equal((await tryAs("admin", adminPassword)).status, 429);
  hub.passTime(1_000);
  assert.equal((await tryAs("admin", adminPassword)).status, 200);
  await failUntilPaused("admin");
});

test("a username that nobody has is slowed down in the same way, whatever its case", async () => {
  await failUntilPaused("admin");
  await failUntilPaused("nobody");
  assert.deepEqual(seen(await tryAs("NoBody")), seen(await tryAs("ADMIN")));
});

test("the count holds in every process of the hub", async () => {
  for (let n = 0; n < 5; n += 1) await tryAs("admin", "wrong", n % 2 === 0 ? hub.call : hub.sibling);
  assert.equal((await tryAs("admin", adminPassword, hub.sibling)).status, 429);
  assert.equal((await tryAs("admin", adminPassword)).status, 429);
});

// All of them are let into the line before the first has failed.
test("a hundred guesses at once are not a hundred guesses", async () => {
  const answers = await Promise.all(Array.from({ length: 60 }, () => tryAs("admin")));
  const checked = answers.filter(({ status }) => status === 401).length;
  assert.ok(checked >= 5 && checked <= 8, `${checked} passwords were checked`);
  assert.equal(answers.filter(({ status }) => status === 429).length, 60 - checked);
});

test("an address is slowed down after 50 failures, whomever they were for", async () => {
  for (let n = 0; n < 50; n += 1) assert.equal((await tryAs(`guess${n}`)).status, 401);
  assert.equal((await tryAs("guess50")).status, 429);
  assert.equal((await tryAs("admin", adminPassword)).status, 429);
  hub.passTime(1_000);
  assert.equal((await tryAs("admin", adminPassword)).status, 200);
});

test("nobody is kept out by what others fail to guess: not where they have logged in before, and nowhere for ever", async () => {
  const tries = openLogInTries({ db: hub.db, clock: hub.clock });
  const home = { username: "ana", ip: "198.51.100.7" };
  const attacker = { username: "ana", ip: "203.0.113.9" };
  await tries.succeeded(home);
  for (let n = 0; n < 30; n += 1) await tries.failed(attacker);

  await assert.rejects(tries.admit(attacker), {
    code: "RATE_LIMIT_EXCEEDED",
    retryAfterSeconds: longestPauseMs / 1000,
  });
  await tries.admit(home);
  await assert.rejects(tries.admit({ username: "ana", ip: "198.51.100.8" }), { code: "RATE_LIMIT_EXCEEDED" });
  hub.passTime(longestPauseMs);
  await tries.admit({ username: "ana", ip: "198.51.100.8" });
});

test("a known address counts for itself", async () => {
  const tries = openLogInTries({ db: hub.db, clock: hub.clock });
  const home = { username: "ana", ip: "198.51.100.7" };
  await tries.succeeded(home);
  for (let n = 0; n < 5; n += 1) await tries.failed(home);
  await assert.rejects(tries.admit(home), { code: "RATE_LIMIT_EXCEEDED" });
  await tries.admit({ username: "ana", ip: "198.51.100.8" });
});

test("IPv6 addresses of one network count as one, and IPv4 is IPv4 however it is written", async () => {
  const tries = openLogInTries({ db: hub.db, clock: hub.clock });
  const from = (ip: string) => ({ username: `user of ${ip}`, ip });
  for (let n = 0; n < 25; n += 1) await tries.failed(from(`2001:db8:0:1::${n.toString(16)}`));
  for (let n = 0; n < 25; n += 1) await tries.failed(from(`2001:0db8::1:0:0:${n}:1`));
  await assert.rejects(tries.admit(from("2001:db8:0:1:ffff::1")), { code: "RATE_LIMIT_EXCEEDED" });
  await tries.admit(from("2001:db8:0:2::1"));
  for (let n = 0; n < 50; n += 1) await tries.failed({ username: `u${n}`, ip: "::ffff:192.0.2.1" });
  await assert.rejects(tries.admit(from("192.0.2.1")), { code: "RATE_LIMIT_EXCEEDED" });
  await tries.admit(from("192.0.2.2"));
});

test("neither usernames nor addresses stand in the table, and rows that say nothing any more are cleared away", async () => {
  await tryAs("secret-typed-in-the-wrong-field");
  const { rows } = await hub.db.query("SELECT t::text AS row FROM log_in_tries t");
  assert.equal(rows.length, 2);
  assert.doesNotMatch(JSON.stringify(rows), /secret|127\.0/);
  assert.equal(await deleteOldTries({ identityDb: hub.db, clock: hub.clock }), 0);
  hub.passTime(2 * longestPauseMs + 1);
  assert.equal(await deleteOldTries({ identityDb: hub.db, clock: hub.clock }), 2);
});
