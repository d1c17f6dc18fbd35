import { ownPassword, passwords, userPasswords } from "../../../contract/src/passwords.ts";
import type { Ending, Forget } from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import { originOf } from "../http/server.ts";
import type { Clock } from "../lib/clock.ts";
import type { Mailer } from "../lib/mailer.ts";
import {
  changePassword,
  type LogInTries,
  type PasswordHasher,
  type RequestPasswordReset,
  resetPassword,
  resetPasswordOf,
} from "../log-in/log-in.ts";
import { keepOutOfCaches } from "./auth.ts";

interface PasswordRouteDeps extends Forget {
  identityDb: IdentityDb;
  clock: Clock;
  hasher: PasswordHasher;
  mailer: Mailer;
  publicUrl: string;
  requestReset: RequestPasswordReset;
  tries: LogInTries;
}

export function passwordRoutes(app: App, deps: PasswordRouteDeps): void {
  route(app, ownPassword.changePassword, ({ principal, db, body }) => {
    const { current_password: currentPassword, new_password: newPassword } = body;
    return changePassword({ ...deps, db }, principal, { currentPassword, newPassword, ending: endingOf(body) });
  });

  route(app, passwords.requestPasswordReset, (request) => deps.requestReset(request.body.email, originOf(request)));

  route(app, userPasswords.createPasswordReset, async ({ principal, db, params }, reply) => {
    const { is_mailed, expires_at, ...reset } = await resetPasswordOf({ ...deps, db }, principal, params.id);
    keepOutOfCaches(reply);
    return { ...reset, expires_at: expires_at.toISOString(), mailed: is_mailed };
  });

  route(app, passwords.resetPassword, (request) => {
    const { token, new_password: newPassword } = request.body;
    const input = { token, newPassword, ending: endingOf(request.body) };
    return resetPassword({ ...deps, db: deps.identityDb }, originOf(request), input);
  });
}

function endingOf(body: { revoke_sessions?: boolean; revoke_api_keys_since?: string | null }): Ending {
  const { revoke_sessions: sessions, revoke_api_keys_since: since } = body;
  return { sessions, apiKeysSince: typeof since === "string" ? new Date(since) : since };
}
