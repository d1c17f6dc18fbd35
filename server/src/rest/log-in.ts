import type { Logger } from "pino";
import type { Forget, Tokens } from "../credentials/credentials.ts";
import type { IdentityDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import type { Clock } from "../lib/clock.ts";
import type { Mailer } from "../lib/mailer.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import {
  type LogInProvider,
  openLogInTries,
  openPasswordResetRequests,
  type PasswordHasher,
} from "../log-in/log-in.ts";
import { invitationRoutes } from "./invitations.ts";
import { logInPageRoutes } from "./log-in-pages.ts";
import { oauthRoutes } from "./oauth.ts";
import { passwordRoutes } from "./passwords.ts";
import { totpRoutes } from "./totp.ts";

export interface LogInDeps extends Forget {
  identityDb: IdentityDb;
  clock: Clock;
  log: Pick<Logger, "warn">;
  hasher: PasswordHasher;
  tokens: Tokens;
  box: SecretBox;
  mailer: Mailer;
  providers: ReadonlyMap<string, LogInProvider>;
  registration: "open" | "invite" | "closed";
  publicUrl: string;
}

/** Invitations, passwords, second factors and providers; `authRoutes` has the rest of login. */
export function logInRoutes(app: App, deps: LogInDeps): void {
  const identity = { ...deps, db: deps.identityDb };
  const tries = openLogInTries(identity);
  oauthRoutes(app, identity);
  invitationRoutes(app, deps);
  passwordRoutes(app, { ...deps, tries, requestReset: openPasswordResetRequests(identity) });
  totpRoutes(app, { ...deps, tries });
  logInPageRoutes(app);
}
