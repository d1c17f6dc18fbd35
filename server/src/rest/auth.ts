import type { FastifyReply } from "fastify";
import { auth } from "../../../contract/src/auth.ts";
import {
  type Forget,
  logOut,
  logOutEverywhere,
  openSession,
  refreshSession,
  type Tokens,
} from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import { originOf } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { logIn, openLogInTries, type PasswordHasher, registerUser, requireSecondFactor } from "../log-in/log-in.ts";
import { showUser } from "./users.ts";

export interface AuthRouteDeps extends Forget {
  db: IdentityDb;
  clock: Clock;
  hasher: PasswordHasher;
  tokens: Tokens;
  box: SecretBox;
  registration: "open" | "invite" | "closed";
}

export function authRoutes(app: App, deps: AuthRouteDeps): void {
  const logInDeps = {
    ...deps,
    tries: openLogInTries(deps),
    secondFactor: (userId: string, code: string | undefined) => requireSecondFactor(deps, userId, code),
  };

  route(app, auth.registerUser, async (request, reply) => {
    keepOutOfCaches(reply);
    const origin = originOf(request);
    const user = await registerUser(deps, origin, request.body);
    const tokens = await openSession(deps, { userId: user.user_id, origin, method: "registration" });
    return { user: showUser(user), ...tokens };
  });

  route(app, auth.logIn, (request, reply) => {
    keepOutOfCaches(reply);
    const { username, password, totp_code: code } = request.body;
    return logIn(logInDeps, originOf(request), { username, password, code });
  });

  route(app, auth.refreshTokens, (request, reply) => {
    keepOutOfCaches(reply);
    return refreshSession(deps, originOf(request), request.body.refresh_token);
  });

  route(app, auth.logOut, ({ principal }) => logOut(deps, principal));

  route(app, auth.logOutEverywhere, ({ principal, body: { revoke_api_keys_since: since } }) =>
    logOutEverywhere(deps, principal, { apiKeysSince: since ? new Date(since) : null }),
  );
}

export function keepOutOfCaches(reply: FastifyReply): void {
  reply.header("cache-control", "no-store");
}
