import assert from "node:assert/strict";
import type { Logger } from "pino";
import { openAuthenticator, openTokens, type SigningKeys, sharedSecrets } from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { honourIdempotencyKeys } from "../http/idempotency.ts";
import type { Clock } from "../lib/clock.ts";
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
import { type Answer, openRestHub } from "./rest-hub.ts";
import { until } from "./until.ts";

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
  const hub = await openRestHub(options.log);
  const { db, databases, log } = hub;
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
    const opened = await hub.open({ authenticate, trustedProxies }, async (app) => {
      honourIdempotencyKeys(app, deps);
      for (const routes of identityRoutes) routes(app, deps);
      await options.more?.(app, deps);
    });
    return { ...opened, authenticate };
  }

  const first = await open();
  const second = await open();
  const { call } = first;

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
    sibling: second.call,
    /** Where the first process listens. */
    url: first.url,
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
    more: hub.more,
    [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose](),
  };
}

const identityRoutes = [authRoutes, jwksRoutes, meRoutes, apiKeyRoutes, userRoutes, workspaceRoutes, auditLogRoutes];

/** Adds routes that other tests do not need. */
type MoreRoutes = (app: App, deps: AuthRouteDeps & { identityDb: IdentityDb; log: Logger; box: SecretBox }) => unknown;
