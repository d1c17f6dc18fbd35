import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { SignJWT } from "jose";
import type { Role } from "../../../contract/src/access.ts";
import { systemOf } from "../audit/audit.ts";
import type { Clock } from "../lib/clock.ts";
import { openPool, type Pool, type PoolOf } from "../lib/postgres.ts";
import type { PasswordHasher } from "../log-in/log-in.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { until } from "../testing/until.ts";
import { addWorkspace, createUser, updateUser } from "../users/users.ts";
import { createApiKey, revokeApiKey } from "./api-keys.ts";
import { type Authenticator, openAuthenticator, recheckMs } from "./authenticate.ts";
import { noOrigin, type Principal } from "./principal.ts";
import { openSession } from "./sessions.ts";
import { sharedSecrets } from "./signing-keys.ts";
import { type AccessClaims, openTokens, type Tokens } from "./tokens.ts";

let database: TestDatabase;
let pool: ReturnType<typeof openPool>;
let admin: Principal;
let count = 0;

let nowMs = Date.now();
const clock: Clock = { now: () => nowMs, elapsed: () => nowMs, after: () => () => {} };
const secret = "a secret for tests that is long enough";
const tokens = tokensSignedWith(secret);
const quiet = { info() {}, warn() {}, error: console.error };
/** What a password costs is tested elsewhere. */
const hasher = { hash: async () => "none" } as unknown as PasswordHasher;

/** Counts the statements that reach the database; `gate`, when set, delays the responses to later ones. */
let statements = 0;
let gate: { opened: Promise<void>; held: number } | undefined;
const countingDb = {
  async query(...query: Parameters<Pool["query"]>) {
    statements += 1;
    const before = gate;
    const result = await pool.query(...query);
    if (before !== undefined) {
      before.held += 1;
      await before.opened;
    }
    return result;
  },
} as unknown as PoolOf<unknown>;

let here: Authenticator;

const opened = closeAfterTests();
before(async () => {
  database = opened.use(await createTestDatabase());
  pool = opened.adopt(
    openPool({ url: database.url, size: 4, applicationName: "authenticate test", log: quiet }),
    (pool) => pool.end(),
  );
  const owner = { username: "owner", email: "owner@example.com", passwordHash: "" };
  await addWorkspace({ db: pool, clock }, { name: "Test", admin: owner });
  admin = await openNewSession("admin").then(({ authorization }) => freshAuthenticator().authenticate(authorization));
});
beforeEach(() => {
  here = freshAuthenticator();
  statements = 0;
});

test("a credential checked within 30 s is served from memory, without a promise", async () => {
  const { authorization } = await openNewSession("agent");
  const principal = await here.authenticate(authorization);
  assert.equal(statements, 1);

  nowMs += recheckMs - 1;
  assert.equal(here.authenticate(authorization), principal);
  assert.equal(statements, 1);

  nowMs += 1;
  assert.ok(here.authenticate(authorization) instanceof Promise);
  await here.authenticate(authorization);
  assert.equal(statements, 2);
});

// Ten thousand disconnected sockets reconnect within seconds of each other.
test("a credential that is rechecked regularly stays cached", async () => {
  const { authorization } = await openNewSession("agent");
  const { sessionId } = await here.authenticate(authorization);
  for (let asked = 0; asked < 3; asked += 1) {
    nowMs += recheckMs - 1;
    await here.recheck(authorization);
  }
  nowMs += recheckMs - 1;
  assert.ok(!(here.authenticate(authorization) instanceof Promise));
  await pool.query("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", [sessionId]);
  await assert.rejects(here.recheck(authorization), { code: "AUTH_INVALID" });
});

test("a hundred first requests with one token share one check", async () => {
  const { authorization } = await openNewSession("agent");
  await Promise.all(Array.from({ length: 100 }, () => here.authenticate(authorization)));
  assert.equal(statements, 1);
});

// All sockets of a restarted process, each with its own credential.
test("thousands of concurrent requests cost a few statements, and cached tokens no signature check", async () => {
  const { claims } = await openNewSession("agent");
  const strangers = Array.from({ length: 300 }, () => tokens.issue(claims));
  const callers = (await Promise.all(strangers)).map((token) => `Bearer ${token}`);
  const keys = [await makeKey(admin), await makeKey(admin)];
  statements = 0;

  const principals = await Promise.all([...callers, ...keys].map((caller) => here.authenticate(caller)));

  assert.ok(statements <= 20, `${statements} statements`);
  assert.deepEqual(
    principals.map(({ callerId }) => callerId).slice(0, 300),
    callers.map(() => claims.userId),
  );
  assert.equal(new Set(principals.slice(300).map(({ callerId }) => callerId)).size, 2);

  nowMs += recheckMs;
  statements = 0;
  await Promise.all(callers.map((caller) => here.authenticate(caller)));
  assert.equal(statements, 1);
});

test("each of many concurrent requests gets its own response", async () => {
  const [good, ended] = [await openNewSession("agent"), await openNewSession("member")];
  await pool.query("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", [ended.sessionId]);
  const mixed = await Promise.allSettled(
    [good, ended, good, ended].map(({ authorization }) => here.authenticate(authorization)),
  );
  assert.deepEqual(
    mixed.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled", "rejected"],
  );
});

test("a changed role takes effect at once in this process, and in others at the next check", async () => {
  const elsewhere = freshAuthenticator();
  const { authorization, key } = await openNewSession("agent");
  assert.equal((await here.authenticate(authorization)).role, "agent");
  assert.equal((await elsewhere.authenticate(authorization)).role, "agent");

  await updateUser({ db: pool, clock, forget: here.forget }, systemOf(key.workspaceId), key.userId, { role: "member" });

  assert.equal((await here.authenticate(authorization)).role, "member");
  nowMs += recheckMs;
  assert.equal((await elsewhere.authenticate(authorization)).role, "member");
});

test("tokens and API keys of a disabled user are refused until the user is enabled again", async () => {
  const { authorization, key, principal } = await openNewSession("agent");
  const apiKey = await makeKey(principal);
  await here.authenticate(authorization);
  await here.authenticate(apiKey);

  await updateUser({ db: pool, clock, forget: here.forget }, systemOf(key.workspaceId), key.userId, {
    isDisabled: true,
  });
  await refused(authorization, "AUTH_INVALID");
  await refused(apiKey, "API_KEY_INVALID");

  await updateUser({ db: pool, clock, forget: here.forget }, systemOf(key.workspaceId), key.userId, {
    isDisabled: false,
  });
  await refused(authorization, "AUTH_INVALID");
  assert.equal((await here.authenticate(apiKey)).userId, key.userId);
});

// A logout that commits after a check has read the session, but before its response arrives.
test("a check that started before a logout caches nothing", async () => {
  const { authorization, sessionId } = await openNewSession("agent");
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  const closed = { opened, held: 0 };
  gate = closed;
  const early = here.authenticate(authorization);
  await until("the session was read", () => closed.held === 1);
  await pool.query("UPDATE sessions SET revoked_at = now() WHERE session_id = $1", [sessionId]);
  here.forget(sessionId);
  gate = undefined;
  const late = here.authenticate(authorization);
  await assert.rejects(async () => late, { code: "AUTH_INVALID" });
  open();
  await early;
  await refused(authorization, "AUTH_INVALID");
});

test("a token expires to the second, also from memory", async () => {
  const { authorization } = await openNewSession("member");
  nowMs += 3_600_000 - recheckMs;
  await here.authenticate(authorization);
  nowMs += recheckMs - 1001;
  await here.authenticate(authorization);
  nowMs += 1001;
  await refused(authorization, "AUTH_EXPIRED");
});

test("tokens of another key, algorithm, issuer or audience are refused without asking the database", async () => {
  const { claims } = await openNewSession("admin");
  const sign = (alg: string, change: (jwt: SignJWT) => SignJWT = (jwt) => jwt) =>
    change(
      new SignJWT({ sid: claims.sessionId, wid: claims.workspaceId, role: "admin", jti: "1", sub: claims.userId })
        .setProtectedHeader({ alg })
        .setExpirationTime(Math.floor(nowMs / 1000) + 60)
        .setIssuer("chat4all")
        .setAudience("chat4all"),
    ).sign(Buffer.from(secret.padEnd(64, "\0").slice(0, alg === "HS256" ? secret.length : 64)));
  const strangers = [
    await tokensSignedWith("another secret that is long enough").issue(claims),
    await sign("HS512"),
    await sign("HS256", (jwt) => jwt.setIssuer("somebody")),
    await sign("HS256", (jwt) => jwt.setAudience("somebody")),
    await sign("HS256"), // without our key id
  ];
  statements = 0;
  for (const token of strangers) await refused(`Bearer ${token}`, "AUTH_INVALID");
  for (const header of ["Basic YTpi", "Bearer", "Bearer a b", `Bearer ${"x".repeat(5000)}`]) {
    await refused(header, "AUTH_INVALID");
  }
  for (const header of [undefined, ""]) await refused(header, "AUTH_REQUIRED");
  assert.equal(statements, 0);
});

test("an API key of an agent or admin acts as the workspace, that of a member as the member", async () => {
  for (const role of ["admin", "agent", "member"] as const) {
    const { principal: creator } = await openNewSession(role);
    const { api_key_id, key } = await createApiKey({ db: pool, clock }, creator, {
      name: role,
      scopes: ["messages:write"],
    });
    assert.deepEqual(await here.authenticate(`Bearer ${key}`), {
      kind: "api_key",
      callerId: api_key_id,
      workspaceId: creator.workspaceId,
      role,
      userId: creator.userId,
      participantId: role === "member" ? creator.userId : creator.workspaceId,
      sessionId: null,
      scopes: ["messages:write"],
      rateLimit: null,
      ancestors: [],
      origin: noOrigin,
    });
  }
});

test("an API key ends when it expires and when it is revoked; an unknown one never worked", async () => {
  const expiring = await makeKey(admin, new Date(nowMs + 10_000));
  await here.authenticate(expiring);
  nowMs += 10_000;
  await refused(expiring, "API_KEY_INVALID");

  const { api_key_id, key } = await createApiKey({ db: pool, clock }, admin, { name: "revoked", scopes: ["*"] });
  await here.authenticate(`Bearer ${key}`);
  await revokeApiKey({ db: pool, clock, forget: here.forget }, admin, api_key_id);
  await refused(`Bearer ${key}`, "API_KEY_INVALID");

  await refused("Bearer c4a_unknown", "API_KEY_INVALID");
});

test("the use of an API key is recorded at most once a minute", async () => {
  const authorization = await makeKey(admin);
  const lastUse = async () => {
    const { callerId } = await freshAuthenticator().authenticate(authorization);
    const { rows } = await pool.query("SELECT last_used_at FROM api_keys WHERE api_key_id = $1", [callerId]);
    return rows[0].last_used_at.getTime();
  };
  const firstUse = nowMs;
  assert.equal(await lastUse(), firstUse);
  nowMs += 59_999;
  assert.equal(await lastUse(), firstUse);
  nowMs += 1;
  assert.equal(await lastUse(), nowMs);
});

function freshAuthenticator(): Authenticator {
  return openAuthenticator({ db: countingDb, clock, tokens });
}

function tokensSignedWith(text: string): Tokens {
  return openTokens({
    clock,
    keys: sharedSecrets([text]),
    accessTokenTtlMs: 3_600_000,
    refreshTokenTtlMs: 86_400_000,
  });
}

async function openNewSession(role: Role) {
  count += 1;
  const { rows } = await pool.query("SELECT workspace_id FROM workspaces");
  const workspaceId: string = rows[0].workspace_id;
  const user = await createUser({ db: pool, clock, hasher }, systemOf(workspaceId), {
    username: `user${count}`,
    email: `user${count}@example.com`,
    password: "",
    role,
  });
  const { access_token } = await openSession(
    { db: pool, clock, tokens },
    { userId: user.user_id, origin: noOrigin, method: "test" },
  );
  const authorization = `Bearer ${access_token}`;
  const principal = await freshAuthenticator().authenticate(authorization);
  statements = 0;
  const sessionId = principal.sessionId!;
  const claims: AccessClaims = { userId: user.user_id, sessionId, workspaceId, role };
  return { authorization, key: { workspaceId, userId: user.user_id }, sessionId, principal, claims };
}

async function makeKey(creator: Principal, expiresAt?: Date): Promise<string> {
  const { key } = await createApiKey({ db: pool, clock }, creator, {
    name: "test",
    scopes: ["*"],
    ...(expiresAt ? { expiresAt } : {}),
  });
  return `Bearer ${key}`;
}

function refused(authorization: string | undefined, code: string): Promise<void> {
  return assert.rejects(async () => here.authenticate(authorization), { code });
}
