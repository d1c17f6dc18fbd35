import { totp, userTotp } from "../../../contract/src/totp.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import { beginTotp, confirmTotp, endTotp, type LogInTries, removeTotp, type TotpDeps } from "../log-in/log-in.ts";
import { keepOutOfCaches } from "./auth.ts";

export function totpRoutes(app: App, deps: Omit<TotpDeps, "db"> & { tries: LogInTries }): void {
  route(app, totp.createTotp, ({ principal, db }, reply) => {
    keepOutOfCaches(reply);
    return beginTotp({ ...deps, db }, principal);
  });

  route(app, totp.confirmTotp, ({ principal, db, body }, reply) => {
    keepOutOfCaches(reply);
    return confirmTotp({ ...deps, db }, principal, body.code);
  });

  route(app, totp.removeTotp, ({ principal, db, body }) => endTotp({ ...deps, db }, principal, body.code));

  route(app, userTotp.removeUserTotp, ({ principal, db, params }) => removeTotp({ ...deps, db }, principal, params.id));
}
