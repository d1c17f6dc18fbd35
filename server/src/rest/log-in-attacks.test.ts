/** Attacks on login must not affect other users. Each client has its own IP address, named by a proxy. */
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { buckets, longestTurnMs } from "../log-in/guesses.ts";
import { passwordLine } from "../log-in/log-in.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { adminPassword, type IdentityHub, startIdentityHub } from "../testing/identity-hub.ts";

let hub: IdentityHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startIdentityHub({ trustedProxies: 1 }));
  const body = { username: "ana", email: "ana@example.com", password: "a long enough one" };
  assert.equal((await hub.call("POST /auth/register", { body })).status, 201);
});
beforeEach(() => hub.db.query("DELETE FROM log_in_tries"));

const wrong = (from: string, username = "admin", at = hub.call) =>
  at("POST /auth/token", { from, body: { username, password: "wrong password" } });
const right = (from: string, at = hub.call) =>
  at("POST /auth/token", { from, body: { username: "admin", password: adminPassword } });

const pollers = Array.from({ length: 8 }, (_, n) => `203.0.113.${n + 1}`);
const home = "198.51.100.7";
const secondsOf = ({ headers }: { headers: Headers }) => Number(headers.get("retry-after"));

/** Each poller once, eight at a time, and each gets a response. */
async function poll(addresses = pollers): Promise<number[]> {
  const statuses: number[] = [];
  for (let at = 0; at < addresses.length; at += 8) {
    const some = addresses.slice(at, at + 8);
    const answers = await Promise.all(some.map((from, n) => wrong(from, "admin", n % 2 ? hub.sibling : hub.call)));
    statuses.push(...answers.map(({ status }) => status));
  }
  return statuses;
}

test("eight polling clients do not lock the user out of a new IP address", async () => {
  for (let round = 0; round < 6; round += 1) await poll();
  assert.deepEqual(
    await poll(),
    pollers.map(() => 429),
  );
  assert.equal((await right(home)).status, 200);
});

test("when even new IP addresses must wait, the user gets a turn that no poller can take", async () => {
  const crowd = Array.from({ length: buckets.fresh.burst }, (_, n) => `192.0.2.${n + 1}`);
  assert.ok((await poll(crowd)).every((status) => status === 401));
  const seconds = secondsOf(await right(home));
  assert.ok(seconds > 0 && seconds <= buckets.fresh.everyMs / 1000, `${seconds} s`);
  // Polling, even by the user, neither loses nor delays the turn.
  for (let round = 0; round < 3; round += 1) {
    await poll(crowd.slice(0, 10));
    assert.ok(secondsOf(await right(home)) <= seconds);
  }
  await hub.ageGuesses(seconds * 1000);
  await poll(crowd);
  assert.equal((await right(home, hub.sibling)).status, 200);
});

test("a user who has failed at this IP address waits one turn for each poller", async () => {
  for (let n = 0; n < 7; n += 1) await wrong(home);
  for (let round = 0; round < 6; round += 1) await poll();
  const seconds = secondsOf(await right(home));
  assert.ok(seconds <= ((pollers.length + 1) * buckets.repeated.everyMs) / 1000, `${seconds} s`);
  await hub.ageGuesses(seconds * 1000);
  await poll();
  assert.equal((await right(home)).status, 200);
});

test("an unused turn expires, and the client gets another", async () => {
  for (let n = 0; n < 7; n += 1) await wrong(home);
  assert.equal((await wrong(home)).status, 429);
  await hub.ageGuesses(2 * longestTurnMs);
  assert.equal((await wrong(home)).status, 401);
});

// Otherwise each further IP address delays all later ones by another minute.
test("the wait of a new IP address is bounded, however many others wait", async () => {
  const most = longestTurnMs / buckets.fresh.everyMs;
  const crowd = Array.from({ length: buckets.fresh.burst + most + 8 }, (_, n) => `192.0.2.${n + 1}`);
  const statuses = await poll(crowd);
  assert.equal(statuses.filter((status) => status === 429).length, most + 8);
  const seconds = secondsOf(await right(home));
  assert.ok(seconds <= (longestTurnMs + buckets.fresh.everyMs) / 1000, `${seconds} s`);
});

test("failures of others do not slow down an IP address from which the user has logged in", async () => {
  assert.equal((await right(home)).status, 200);
  for (let round = 0; round < 6; round += 1) await poll();
  for (let n = 0; n < 5; n += 1) assert.equal((await right(home, n % 2 ? hub.sibling : hub.call)).status, 200);
  // Its own failures count, and only for this IP address.
  for (let n = 0; n < buckets.trusted.burst; n += 1) assert.equal((await wrong(home)).status, 401);
  assert.equal((await right(home)).status, 429);
  assert.equal((await right("198.51.100.8")).status, 200);
});

test("invented names from one IP address do not lock out a user who has logged in from there", async () => {
  assert.equal((await right(home)).status, 200);
  await useUp(() => home);
  assert.equal((await right(home)).status, 200);
  // Other accounts wait at this IP address; at other IP addresses the account does not wait.
  const ana = { username: "ana", password: "a long enough one" };
  const fromThere = await hub.call("POST /auth/token", { from: home, body: ana });
  assert.equal(fromThere.status, 429);
  assert.ok(secondsOf(fromThere) <= 7 * (buckets.address.everyMs / 1000), `${secondsOf(fromThere)} s`);
  assert.equal((await hub.call("POST /auth/token", { from: "198.51.100.9", body: ana })).status, 200);
});

test("IPv6 addresses of one /64 count as one IP address, and so do all spellings of an IPv4 address", async () => {
  await useUp((n) => `2001:db8:0:1::${n.toString(16)}`);
  assert.equal((await wrong("2001:db8:0:1:ffff::1", "one-more")).status, 429);
  assert.equal((await wrong("2001:db8:0:2::1", "one-more")).status, 401);
  await useUp(() => "::ffff:192.0.2.1");
  assert.equal((await wrong("192.0.2.1", "one-more")).status, 429);
});

/** Guesses until a guess is refused: on a slow machine a token or two are refilled meanwhile. */
async function useUp(address: (n: number) => string): Promise<void> {
  const { burst } = buckets.address;
  for (let n = 0; n < 2 * burst; n += 1) {
    const { status } = await wrong(address(n), `invented${n}`);
    if (status === 401) continue;
    assert.deepEqual([status, n >= burst], [429, true], `after ${n} guesses`);
    return;
  }
  assert.fail(`${2 * burst} guesses were accepted`);
}

test("a flood of correct logins of one account does not delay others", async () => {
  const done: string[] = [];
  const ana = () =>
    hub.call("POST /auth/token", { from: home, body: { username: "ana", password: "a long enough one" } });
  // The IP address is trusted with both accounts, so that only the accounts differ.
  await right(home);
  await ana();
  const flood = Array.from({ length: 60 }, async () => {
    const { status } = await right(home);
    done.push(`flood ${status}`);
  });
  const { status } = await ana().finally(() => done.push("neighbour"));
  await Promise.all(flood);
  assert.equal(status, 200);
  const served = done.slice(0, done.indexOf("neighbour")).filter((one) => one === "flood 200").length;
  // Those that were being checked already, and the one before it in the round.
  assert.ok(served <= 6, `${served} of the flood were served before the neighbour`);
  const all = done.filter((one) => one === "flood 200").length;
  assert.ok(all <= passwordLine.perAccount + 6, `${all} of the flood were served`);
});

test("a crowd of IP addresses that tries an account does not push a trusted IP address out of the queue", async () => {
  assert.equal((await right(home)).status, 200);
  const crowd = Array.from({ length: buckets.fresh.burst }, (_, n) => `192.0.2.${n + 1}`);
  const owner: Promise<{ status: number }>[] = [];
  const guesses = crowd.map((from, n) => {
    // While the share of the account is full and more of the crowd arrive.
    if (n % 5 === 4) owner.push(right(home));
    return wrong(from);
  });
  const refused = (await Promise.all(guesses)).filter(({ status }) => status === 503);
  assert.ok(refused.length > 0, "the crowd fills the share of the account");
  assert.deepEqual(
    (await Promise.all(owner)).map(({ status }) => status),
    owner.map(() => 200),
  );
});

test("after the database's clock was set back, no login waits until the time before", async () => {
  for (let n = 0; n < 2; n += 1) assert.equal((await right(home)).status, 200);
  for (let round = 0; round < 6; round += 1) await poll();
  assert.equal((await wrong(pollers[0]!)).status, 429);
  await hub.ageGuesses(-24 * 3_600_000);
  assert.equal((await right(home)).status, 200);
  assert.equal((await wrong(pollers[0]!)).status, 401);
});

// The documents give this figure: the guesses of all strangers together at one account in a day.
test("the number of guesses at an account in a day is bounded", () => {
  const ofDay = ({ burst, everyMs }: { burst: number; everyMs: number }) => burst + 86_400_000 / everyMs;
  assert.equal(ofDay(buckets.fresh), 1_470);
  assert.equal(ofDay(buckets.repeated), 725);
  assert.equal(ofDay(buckets.trusted), 1_450);
});
