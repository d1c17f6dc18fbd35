import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { type Logger, pino } from "pino";
import { openAuthenticator, openTokens, type SigningKeys, sharedSecrets } from "../credentials/credentials.ts";
import { openDatabases } from "../databases.ts";
import { honourIdempotencyKeys } from "../http/idempotency.ts";
import { openRestServer } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import { openPool, type Pool } from "../lib/postgres.ts";
import { Secret } from "../lib/secret.ts";
import { openSecretBox, type SecretBox } from "../lib/secret-box.ts";
import { ensureFirstAdmin, openPasswordHasher } from "../log-in/log-in.ts";
import { apiKeyRoutes } from "../rest/api-keys.ts";
import { auditLogRoutes } from "../rest/audit-log.ts";
import { type AuthRouteDeps, authRoutes } from "../rest/auth.ts";
import { jwksRoutes } from "../rest/jwks.ts";
import { meRoutes } from "../rest/me.ts";
import { userRoutes } from "../rest/users.ts";
import { workspaceRoutes } from "../rest/workspaces.ts";
import { createTestDatabase } from "./test-database.ts";
import { until } from "./until.ts";

/** An answer as a test reads it. Bodies are checked by the assertions on them. */
// biome-ignore lint/suspicious/noExplicitAny: a test asserts on what came, whatever its type
export type Answer = { status: number; headers: Headers; body: any };

export interface CallOptions {
  body?: unknown;
  token?: string | undefined;
  idempotencyKey?: string;
  /** The client's address, as the proxy of a hub with `trustedProxies` names it. */
  from?: string;
}

export const adminPassword = "correct horse battery";
const memberPassword = "a long enough one";

export type IdentityHub = Awaited<ReturnType<typeof startIdentityHub>>;

/**
 * The identity routes on a real port over a real database, with a clock that only `passTime` moves forward. `sibling` is
 * a second process of the same hub, as far as memory is concerned.
 */
export async function startIdentityHub(
  options: {
    registration?: "open" | "invite" | "closed";
    keys?: SigningKeys;
    log?: Logger;
    more?: MoreRoutes;
    trustedProxies?: number;
  } = {},
) {
  const database = await createTestDatabase();
  const log = options.log ?? pino({ level: process.env.TEST_LOG_LEVEL ?? "silent" });
  const db = openPool({ url: database.url, size: 10, applicationName: "identity test", log });
  const databases = openDatabases({ url: database.url, size: 10, log });
  let nowMs = Date.now();
  const clock: Clock = { now: () => nowMs, elapsed: () => nowMs, after: () => () => {} };
  const box = openSecretBox(Buffer.alloc(32, 7));
  const hasher = openPasswordHasher({ concurrency: 2 });
  const tokens = openTokens({
    clock,
    keys: options.keys ?? sharedSecrets(["a secret for tests that is long enough"]),
    accessTokenTtlMs: 3_600_000,
    refreshTokenTtlMs: 30 * 86_400_000,
  });
  await ensureFirstAdmin({
    isOnlyProcess: true,
    db,
    clock,
    hasher,
    config: { adminUsername: "admin", adminPassword: new Secret(adminPassword) },
  });

  async function open() {
    const { authenticate, forget } = openAuthenticator({ db: databases.identityDb, clock, tokens });
    const { trustedProxies = null } = options;
    const app = await openRestServer({ log, authenticate, dbOf: databases.dbOf, trustedProxies });
    const deps = {
      db: databases.identityDb,
      identityDb: databases.identityDb,
      clock,
      log,
      box,
      hasher,
      tokens,
      forget,
      registration: options.registration ?? "open",
    };
    honourIdempotencyKeys(app, deps);
    for (const routes of [authRoutes, jwksRoutes, meRoutes, apiKeyRoutes, userRoutes, workspaceRoutes, auditLogRoutes])
      routes(app, deps);
    await options.more?.(app, deps);
    return { app, authenticate, forget };
  }

  const first = await open();
  const second = await open();
  const call = await listen(first.app);
  const sibling = await listen(second.app);

  let registered = 0;

  return {
    app: first.app,
    authenticate: first.authenticate,
    /** Of the owner of the database, who sees everything. */
    db,
    dbOf: databases.dbOf,
    clock,
    box,
    tokens,
    call,
    sibling,
    /** Where the first process listens. */
    url: urlOf(first.app),
    passTime(ms: number) {
      nowMs += ms;
    },
    /** Guesses are counted by the database's clock, which a test cannot set: it moves the stored times into the past. */
    async ageGuesses(ms: number) {
      const times = ["full_at", "turn_at", "known_until", "expires_at"];
      const moved = times.map((column) => `${column} = ${column} - $1 * interval '1 ms'`);
      await db.query(`UPDATE log_in_tries SET ${moved.join(", ")}`, [ms]);
    },
    /** A fresh session; the password is the one that `makeUser` gives. */
    async logIn(username: string, password = adminPassword): Promise<Answer["body"]> {
      const { body } = await call("POST /auth/token", { body: { username, password } });
      return body;
    },
    /** A new member, with the session that the registration opened. */
    async register(password = memberPassword) {
      registered += 1;
      const username = `user${registered}`;
      const email = `${username}@example.com`;
      const { status, body } = await call("POST /auth/register", { body: { username, email, password } });
      assert.equal(status, 201, JSON.stringify(body));
      const { access_token, refresh_token, user } = body as Record<"access_token" | "refresh_token", string> & {
        user: { user_id: string };
      };
      return { username, email, userId: user.user_id, token: access_token, refreshToken: refresh_token };
    },
    /** An API key with all scopes, unless `body` says otherwise. */
    async makeApiKey(token: string, body: object = {}) {
      const made = await call("POST /v1/api-keys", { token, body: { name: "test", scopes: ["*"], ...body } });
      assert.equal(made.status, 201, JSON.stringify(made.body));
      return made.body as { api_key_id: string; key: string; parent_id: string | null };
    },
    /** Whether the session or API key works: in the first process, unless `at` is another. */
    isLive: async (token: string, at = call) => (await at("GET /v1/me", { token })).status === 200,
    /**
     * Makes two requests that write to the audit log at the same moment: the first is held at its record until the
     * second waits for a lock as well.
     */
    async meet(first: () => Promise<Answer>, second: () => Promise<Answer>): Promise<[Answer, Answer]> {
      const holder = await db.connect();
      const waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
      const waiting = (count: number) =>
        until(`${count} statements wait for a lock`, async () => (await db.query(waits)).rowCount === count);
      const answers: Promise<Answer>[] = [];
      try {
        await holder.query("BEGIN; SELECT FROM audit_heads FOR UPDATE");
        for (const request of [first, second]) await waiting(answers.push(request()));
      } finally {
        await holder.query("COMMIT");
        holder.release();
      }
      return Promise.all(answers) as Promise<[Answer, Answer]>;
    },
    async [Symbol.asyncDispose]() {
      await first.app.close();
      await second.app.close();
      await databases[Symbol.asyncDispose]();
      await db.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

type App = Awaited<ReturnType<typeof openRestServer>>;

/** Adds routes that other tests do not need. */
export type MoreRoutes = (app: App, deps: AuthRouteDeps & { identityDb: Pool; log: Logger; box: SecretBox }) => unknown;

/** `call("POST /auth/token", { body })`, over real HTTP. */
async function listen(app: App) {
  await app.listen({ port: 0, host: "127.0.0.1" });
  const origin = urlOf(app);
  return async function call(target: string, { body, token, idempotencyKey, from }: CallOptions = {}): Promise<Answer> {
    const [method, path] = target.split(" ") as [string, string];
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
    if (from !== undefined) headers["x-forwarded-for"] = from;
    const sent = body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) };
    const answer = await fetch(origin + path, { method, headers, ...sent });
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, body: text === "" ? null : JSON.parse(text) };
  };
}

function urlOf(app: App): string {
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}
