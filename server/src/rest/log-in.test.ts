import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import type { PoolOf } from "../lib/postgres.ts";
import { buckets, newTries, rememberTriesMs } from "../log-in/guesses.ts";
import { deleteOldTries, type LogInDeps, logIn, openLogInTries, openPasswordHasher } from "../log-in/log-in.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";
import type { Answer } from "../testing/rest-hub.ts";

let hub: IdentityHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub());
});
beforeEach(() => hub.db.query("DELETE FROM log_in_tries"));

const tryAs = (username: string, password = "wrong password", at = hub.call) =>
  at("POST /auth/token", { body: { username, password } });

/** What distinguishes responses for an outside observer. */
function seen({ status, headers, body }: Answer) {
  return { status, retryAfter: headers.get("retry-after"), error: { ...body.error, request_id: "" } };
}

/** Guesses that a new IP address has: `newTries` as a new one, and the burst of IP addresses that repeat. */
const freeGuesses = newTries + buckets.repeated.burst;

async function failUntilRefused(username: string, at = hub.call): Promise<void> {
  for (let n = 0; n < freeGuesses; n += 1) assert.equal((await tryAs(username, "wrong", at)).status, 401);
}

test("after seven failures an IP address waits two minutes before each further guess at the account", async () => {
  await failUntilRefused("admin");
  for (let n = 0; n < 3; n += 1) {
    const refused = await tryAs("admin");
    assert.deepEqual([refused.status, refused.body.error.code], [429, "RATE_LIMIT_EXCEEDED"]);
    const seconds = Number(refused.headers.get("retry-after"));
    assert.ok(seconds > 100 && seconds <= 120, `${seconds} s`);
    await hub.ageGuesses(seconds * 1000);
    assert.equal((await tryAs("admin")).status, 401);
  }
});

// Time on a shared machine proves nothing in either direction: the work is what takes the time.
test("an unknown user, one without a password and a wrong password get the same response after the same work", async () => {
  const { body } = await hub.call("POST /auth/register", {
    body: { username: "provider-only", email: "p@example.com", password: "a long enough one" },
  });
  await hub.db.query("UPDATE users SET password_hash = NULL WHERE user_id = $1", [body.user.user_id]);
  const works: unknown[] = [];
  const answers: unknown[] = [];
  for (const username of ["admin", "nobody", "provider-only"]) {
    const work = noWork();
    works.push(work);
    await logIn(counted(work), { ip: "192.0.2.1", requestId: null }, { username, password: "wrong password" }).catch(
      ({ code, message, details, retryAfterSeconds }) => answers.push({ code, message, details, retryAfterSeconds }),
    );
  }
  assert.deepEqual(works.slice(1), [works[0], works[0]]);
  assert.deepEqual(answers.slice(1), [answers[0], answers[0]]);
  assert.deepEqual((works[0] as { passwords: number[] }).passwords.length, 1);
});

test("a guess that must wait does not occupy the hashing queue", async () => {
  await failUntilRefused("admin");
  const work = noWork();
  const guess = { username: "admin", password: adminPassword };
  await assert.rejects(logIn(counted(work), { ip: "127.0.0.1", requestId: null }, guess), {
    code: "RATE_LIMIT_EXCEEDED",
  });
  assert.equal(work.turns, 0);
});

test("while the hashing queue is full, a guess is refused without a database query", async () => {
  const hasher = openPasswordHasher({ concurrency: 1, line: { total: 1, perAddress: 1, perAccount: 1 } });
  const ended = Promise.withResolvers<void>();
  const others = [1, 2].map(() => hasher.inTurn({ address: "192.0.2.1", account: "admin" }, () => ended.promise));
  const work = noWork();
  const guess = { username: "admin", password: adminPassword };
  await assert.rejects(logIn(counted(work, hasher), { ip: "192.0.2.1", requestId: null }, guess), {
    code: "OVERLOADED",
  });
  assert.deepEqual(work, noWork());
  ended.resolve();
  await Promise.all(others);
});

/** What a login used: statements, turns in the queue, and the memory for each password in KiB. */
const noWork = () => ({ statements: 0, turns: 0, passwords: [] as number[] });

/** The parts of a login, which record how they are used. */
function counted(work: ReturnType<typeof noWork>, hasher = openPasswordHasher({ concurrency: 1 })): LogInDeps {
  const query = (...statement: unknown[]) => {
    work.statements += 1;
    return Reflect.apply(hub.db.query, hub.db, statement);
  };
  const db = { connect: () => hub.db.connect(), query } as unknown as PoolOf<unknown>;
  return {
    db,
    clock: hub.clock,
    tokens: hub.tokens,
    tries: openLogInTries({ db }),
    secondFactor: async () => {},
    hasher: {
      ...hasher,
      inTurn: (source, turn) => {
        work.turns += 1;
        return hasher.inTurn(source, (verify) =>
          turn((hashed, password) => {
            work.passwords.push(Number(/m=(\d+)/.exec(hashed ?? "m=19456")![1]));
            return verify(hashed, password);
          }),
        );
      },
    },
  };
}

test("before its turn even the right password is refused; at its turn it logs in and the IP address is trusted", async () => {
  await failUntilRefused("admin");
  const seconds = Number((await tryAs("admin", adminPassword)).headers.get("retry-after"));
  assert.ok(seconds > 0);
  await hub.ageGuesses(seconds * 1000);
  assert.equal((await tryAs("admin", adminPassword)).status, 200);
  assert.equal((await tryAs("admin", adminPassword)).status, 200);
});

test("guesses at an unknown username are slowed down in the same way, in any case", async () => {
  await failUntilRefused("admin");
  await failUntilRefused("nobody");
  const [unknown, known] = [await tryAs("NoBody"), await tryAs("ADMIN")].map(seen);
  assert.equal(unknown!.status, 429);
  assert.deepEqual({ ...unknown, retryAfter: 0, error: 0 }, { ...known, retryAfter: 0, error: 0 });
  assert.ok(Math.abs(Number(unknown!.retryAfter) - Number(known!.retryAfter)) < 60);
});

test("the count is shared by all processes of the hub", async () => {
  for (let n = 0; n < freeGuesses; n += 1) await tryAs("admin", "wrong", n % 2 === 0 ? hub.call : hub.sibling);
  assert.equal((await tryAs("admin", adminPassword, hub.sibling)).status, 429);
  assert.equal((await tryAs("admin", adminPassword)).status, 429);
});

test("of a hundred guesses at once, over several processes, only the burst is checked", async () => {
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, n) => tryAs("admin", "wrong", n % 2 === 0 ? hub.call : hub.sibling)),
  );
  const checked = answers.filter(({ status }) => status === 401).length;
  assert.equal(checked, freeGuesses);
  assert.ok(answers.every(({ status }) => [401, 429, 503].includes(status)));
});

test("the table contains neither usernames nor IP addresses, and expired rows are deleted", async () => {
  await tryAs("secret-typed-in-the-wrong-field");
  // As bytes they would appear in hexadecimal digits.
  const { rows } = await hub.db.query("SELECT t::text, encode(subject_hash, 'escape') FROM log_in_tries t");
  assert.equal(rows.length, 4);
  assert.doesNotMatch(JSON.stringify(rows), /secret|127\.0/);
  await deleteOldTries({ identityDb: hub.db });
  assert.equal((await hub.db.query("SELECT FROM log_in_tries")).rowCount, 3);
  await hub.ageGuesses(rememberTriesMs + 1);
  assert.equal(await deleteOldTries({ identityDb: hub.db }), 3);
});

test("the table has a bound that does not delete trusted IP addresses", async () => {
  await tryAs("admin", adminPassword);
  for (let n = 0; n < 6; n += 1) await tryAs(`guess${n}`);
  await deleteOldTries({ identityDb: hub.db }, 3);
  const { rows } = await hub.db.query("SELECT known_until FROM log_in_tries");
  assert.equal(rows.filter((row) => row.known_until === null).length, 3);
  assert.equal(rows.filter((row) => row.known_until !== null).length, 1);
});
