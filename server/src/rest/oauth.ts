import { oauth } from "../../../contract/src/oauth.ts";
import type { Origin } from "../audit/audit.ts";
import { openSession, type Tokens } from "../credentials/credentials.ts";
import type { App } from "../http/app.ts";
import { openCookie } from "../http/cookies.ts";
import { route } from "../http/route.ts";
import { originOf } from "../http/server.ts";
import {
  beginLogIn,
  exchangeCode,
  finishLogIn,
  logInCodeTtlMs,
  type OauthDeps,
  oauthStateTtlMs,
} from "../log-in/log-in.ts";

export function oauthRoutes(app: App, deps: OauthDeps & { tokens: Tokens }): void {
  const cookie = openCookie("c4a_log_in", deps.publicUrl);

  route(app, oauth.listLogInProviders, () => ({
    data: [...deps.providers.keys()].map((provider) => ({
      provider,
      url: `${deps.publicUrl}/auth/oauth/${provider}`,
    })),
  }));

  route(app, oauth.startProviderLogIn, async ({ params, query }, reply) => {
    const started = await beginLogIn(deps, params.provider, query.return_to);
    cookie.set(reply, started.cookie, oauthStateTtlMs);
    reply.headers(notKept).header("location", started.location);
  });

  route(app, oauth.finishProviderLogIn, async (request, reply) => {
    reply.headers(notKept);
    const { search } = new URL(request.url, deps.publicUrl);
    const origin = originOf(request);
    const { provider } = request.params;
    const finished = await finishLogIn(deps, { provider, search, cookie: cookie.read(request), origin });
    if (finished.kind === "return") {
      cookie.set(reply, finished.cookie, logInCodeTtlMs);
      reply.status(302).header("location", finished.location);
      return;
    }
    cookie.clear(reply);
    reply.status(200);
    return logInAs(deps, { ...finished, origin });
  });

  route(app, oauth.exchangeLogInCode, async (request, reply) => {
    reply.headers(notKept);
    const proved = await exchangeCode(deps, { code: request.body.code, cookie: cookie.read(request) });
    cookie.clear(reply);
    return logInAs(deps, { ...proved, origin: originOf(request) });
  });
}

async function logInAs(
  deps: OauthDeps & { tokens: Tokens },
  { userId, provider, origin }: { userId: string; provider: string; origin: Origin },
) {
  const tokens = await openSession(deps, { userId, origin, method: `provider ${provider}` });
  return { ...tokens, user_id: userId };
}

/** Keeps codes and tokens out of caches and of the `referer` header. */
const notKept = { "cache-control": "no-store", "referrer-policy": "no-referrer" };
