import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { pino } from "pino";
import { errorsOf } from "../../../contract/src/document.ts";
import { operations } from "../../../contract/src/operation.ts";
import { type KeyRateLimit, noOrigin, type Principal } from "../credentials/credentials.ts";
import { RequestError } from "../errors.ts";
import { openMemoryRateLimits } from "../lib/rate-limits/memory-rate-limits.ts";
import type { RateLimits } from "../lib/rate-limits/rate-limits.ts";
import type { App } from "./app.ts";
import { limitRequests } from "./request-limits.ts";
import { openRestServer, type RestOptions } from "./server.ts";

let nowMs = Date.now();
let door: Awaited<ReturnType<typeof openDoor>>;
const byUser = { perSecond: 5, burst: 30 };
const byAddress = { perSecond: 1, burst: 3 };

beforeEach(async (t) => {
  door = await openDoor();
  (t as { after(work: () => Promise<void>): void }).after(() => door.app.close());
});

test("a user's burst passes, the next request is refused with retry-after, and then one passes", async () => {
  for (let left = 29; left >= 0; left -= 1) {
    const answer = await door.call("POST", "/things", { token: "ana" });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.limits, {
      limit: "30",
      remaining: String(left),
      reset: String(Math.ceil((30 - left) / 5)),
    });
    assert.equal(answer.retryAfter, null);
  }
  const refused = await door.call("POST", "/things", { token: "ana" });
  assert.equal(refused.status, 429);
  assert.equal(refused.body.error.code, "RATE_LIMIT_EXCEEDED");
  assert.match(refused.body.error.message, /30 at once and 5 a second on average.*Try again in 1 s\./);
  assert.deepEqual([refused.limits, refused.retryAfter], [{ limit: "30", remaining: "0", reset: "6" }, "1"]);
  nowMs += 200;
  assert.equal((await door.call("PATCH", "/things", { token: "ana" })).status, 200);
  assert.equal((await door.call("DELETE", "/things", { token: "ana" })).status, 429);
  nowMs += 6_000;
  assert.equal((await door.call("PUT", "/things", { token: "ana" })).limits?.remaining, "29");
});

test("reading is not counted, and has no rate limit headers", async () => {
  for (let i = 0; i < 40; i += 1) await door.call("POST", "/things", { token: "ana" });
  for (const method of ["GET", "HEAD"]) {
    const answer = await door.call(method, "/things", { token: "ana" });
    assert.deepEqual([answer.status, answer.limits], [200, null], method);
  }
});

test("users and API keys are counted separately", async () => {
  for (let i = 0; i < 31; i += 1) await door.call("POST", "/things", { token: "ana" });
  assert.equal((await door.call("POST", "/things", { token: "ana" })).status, 429);
  assert.equal((await door.call("POST", "/things", { token: "bob" })).status, 200);
});

test("an API key has its own limit, or none", async () => {
  for (let i = 0; i < 100; i += 1) {
    const free = await door.call("POST", "/things", { token: "key" });
    assert.deepEqual([free.status, free.limits], [200, null]);
  }
  assert.equal((await door.call("POST", "/things", { token: "slow key" })).limits?.limit, "2");
  assert.equal((await door.call("POST", "/things", { token: "slow key" })).status, 200);
  const refused = await door.call("POST", "/things", { token: "slow key" });
  assert.deepEqual([refused.status, refused.retryAfter], [429, "10"]);
  assert.match(refused.body.error.message, /2 at once and 6 a minute on average/);
});

test("keys share the limit of the key that made them", async () => {
  const first = await door.call("POST", "/things", { token: "child of slow key" });
  assert.deepEqual([first.status, first.limits?.limit, first.limits?.remaining], [200, "2", "1"]);
  assert.equal((await door.call("POST", "/things", { token: "sibling of it" })).status, 200);
  for (const token of ["child of slow key", "sibling of it", "slow key"]) {
    assert.equal((await door.call("POST", "/things", { token })).status, 429, token);
  }
  assert.equal((await door.call("POST", "/things", { token: "key" })).status, 200);
});

test("requests without a caller are counted by IP address, except webhooks, health, preflights and unknown paths", async () => {
  for (let i = 0; i < 3; i += 1) assert.equal((await door.call("POST", "/auth/token")).status, 200);
  const refused = await door.call("POST", "/auth/token");
  assert.deepEqual([refused.status, refused.limits?.limit, refused.retryAfter], [429, "3", "1"]);
  for (const [method, path] of [
    ["POST", "/webhooks/x"],
    ["GET", "/healthz"],
    ["OPTIONS", "/auth/token"],
    ["POST", "/nowhere"],
  ] as const) {
    for (let i = 0; i < 5; i += 1) {
      const answer = await door.call(method, path);
      assert.notEqual(answer.status, 429, path);
      assert.equal(answer.limits, null, path);
    }
  }
  assert.equal((await door.call("POST", "/things")).status, 401);
});

test("a route may count its reads by IP address", async () => {
  for (let i = 0; i < 3; i += 1) assert.equal((await door.call("GET", "/auth/oauth/callback")).status, 200);
  for (const method of ["GET", "HEAD"]) {
    assert.equal((await door.call(method, "/auth/oauth/callback")).status, 429, method);
  }
});

// Otherwise a client that invents the header has any number of IP addresses.
test("x-forwarded-for counts only from a trusted proxy", async (t) => {
  for (let i = 0; i < 3; i += 1) await door.call("POST", "/auth/token", { forwardedFor: `203.0.113.${i}` });
  assert.equal((await door.call("POST", "/auth/token", { forwardedFor: "203.0.113.9" })).status, 429);

  for (const trustedProxies of [1, ["127.0.0.0/8"]]) {
    const proxied = await openDoor({ trustedProxies });
    t.after(() => proxied.app.close());
    const from = async (forwardedFor: string) => (await proxied.call("POST", "/auth/token", { forwardedFor })).status;
    for (let i = 0; i < 3; i += 1) assert.equal(await from("203.0.113.1"), 200);
    assert.equal(await from("203.0.113.1"), 429);
    assert.equal(await from("203.0.113.2"), 200);
    // What the client itself wrote stands before what the proxy saw.
    assert.equal(await from("198.51.100.7, 203.0.113.1"), 429);
    // A customer's IPv6 network is one client.
    for (let i = 0; i < 3; i += 1) assert.equal(await from(`2001:db8:1:2::${i}`), 200);
    assert.equal(await from("2001:db8:1:2:ffff::1"), 429);
    assert.equal(await from("2001:db8:1:3::1"), 200);
  }
});

test("an asynchronous count is awaited, and a limit can be off", async (t) => {
  const memory = openMemoryRateLimits({ elapsed: () => nowMs });
  const away: RateLimits = { take: async (...asked) => memory.take(...asked) };
  const shared = await openDoor({}, { limits: away, byUser: { perSecond: 1, burst: 1 }, byAddress: null });
  t.after(() => shared.app.close());
  assert.equal((await shared.call("POST", "/things", { token: "ana" })).status, 200);
  assert.equal((await shared.call("POST", "/things", { token: "ana" })).status, 429);
  for (let i = 0; i < 10; i += 1) assert.equal((await shared.call("POST", "/auth/token")).limits, null);
});

test("the contract has 429 for every operation that may return it", () => {
  const shape = { path: "/things", summary: "", answers: { 200: null } } as const;
  const ofUser = { ...shape, access: { role: "member" } } as const;
  const { add, read, callback, webhook } = operations("Things", {
    add: { ...ofUser, method: "POST" },
    read: { ...ofUser, method: "GET" },
    callback: { ...shape, method: "GET", access: "public", limit: "address" },
    webhook: { ...shape, method: "POST", access: "public", limit: "none" },
  });
  assert.deepEqual(
    [add, read, callback, webhook].map((one) => errorsOf(one).includes(429)),
    [true, false, true, false],
  );
});

interface CallOptions {
  token?: string;
  forwardedFor?: string;
}

/** A door with a route of each sort, on a real port; its clock moves only with `nowMs`. */
async function openDoor(options: Partial<RestOptions> = {}, more: Partial<Parameters<typeof limitRequests>[1]> = {}) {
  const app = await openRestServer({
    log: pino({ level: "silent" }),
    authenticate: (authorization) => principalOf(authorization?.replace("Bearer ", "")),
    dbOf: () => null as never,
    ...options,
  });
  limitRequests(app, { limits: openMemoryRateLimits({ elapsed: () => nowMs }), byUser, byAddress, ...more });
  addRoutes(app);
  const origin = await app.listen({ port: 0, host: "127.0.0.1" });
  return {
    app,
    async call(method: string, path: string, { token, forwardedFor }: CallOptions = {}) {
      const answer = await fetch(`${origin}${path}`, {
        method,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(forwardedFor === undefined ? {} : { "x-forwarded-for": forwardedFor }),
        },
      });
      const text = await answer.text();
      const [limit, remaining, reset] = ["limit", "remaining", "reset"].map((name) =>
        answer.headers.get(`ratelimit-${name}`),
      );
      return {
        status: answer.status,
        limits: limit === null ? null : { limit, remaining, reset },
        retryAfter: answer.headers.get("retry-after"),
        body: text === "" ? null : JSON.parse(text),
      };
    },
  };
}

function addRoutes(app: App): void {
  const member = { access: { role: "member" } } as const;
  const open = { access: "public" } as const;
  const said = async () => ({ said: "done" });
  for (const method of ["POST", "PUT", "PATCH", "DELETE", "GET"] as const) {
    app.route({ method, url: "/things", config: member, handler: said });
  }
  app.post("/auth/token", { config: open }, said);
  app.options("/auth/token", { config: open }, said);
  app.get("/auth/oauth/callback", { config: { ...open, limit: "address" } }, said);
  app.post("/webhooks/x", { config: { ...open, limit: "none" } }, said);
  app.get("/healthz", { config: open }, said);
}

function principalOf(token: string | undefined): Principal {
  const slow = { perSecond: 0.1, burst: 2 };
  const keys: Record<string, KeyRateLimit | null> = {
    key: null,
    "slow key": slow,
    "child of slow key": null,
    "sibling of it": { perSecond: 0.1, burst: 2 },
  };
  if (token === undefined) throw new RequestError("AUTH_REQUIRED", "Who are you?");
  const shared = { workspaceId: "w", role: "admin", userId: "u", participantId: "p", sessionId: null } as const;
  return {
    ...shared,
    kind: token in keys ? "api_key" : "user",
    callerId: token,
    scopes: ["*"],
    rateLimit: keys[token] ?? null,
    ...(/child|sibling/.test(token) ? { ancestors: [{ apiKeyId: "slow key", rateLimit: slow }] } : {}),
    origin: noOrigin,
  };
}
