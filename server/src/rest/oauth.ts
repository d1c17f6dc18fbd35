import { Type } from "typebox";
import type { Origin } from "../audit/audit.ts";
import { openCookie } from "../http/cookies.ts";
import { type App, originOf } from "../http/server.ts";
import {
  beginLogIn,
  begunTtlMs,
  exchangeCode,
  finishLogIn,
  type OauthDeps,
  returnedTtlMs,
} from "../identity/oauth/oauth.ts";
import { openSession } from "../identity/sessions.ts";
import type { Tokens } from "../identity/tokens.ts";
import { tokenFields } from "./auth.ts";
import { errorAnswers, uuid } from "./identity-schemas.ts";

/** `/auth/oauth/…`: log-in through a provider. */
export function oauthRoutes(app: App, deps: OauthDeps & { tokens: Tokens }): void {
  const cookie = openCookie("c4a_log_in", deps.publicUrl);

  app.get(
    "/auth/providers",
    {
      config: { access: "public" },
      schema: {
        tags,
        security: [],
        summary: "List the log-in providers",
        description: "What a log-in page offers beside username and password.",
        response: {
          200: Type.Object({ data: Type.Array(Type.Object({ provider: Type.String(), url: Type.String() })) }),
        },
      },
    },
    async () => ({
      data: [...deps.providers.keys()].map((provider) => ({
        provider,
        url: `${deps.publicUrl}/auth/oauth/${provider}`,
      })),
    }),
  );

  app.get(
    "/auth/oauth/:provider",
    {
      config: { access: "public", limit: "address" },
      schema: {
        tags,
        security: [],
        summary: "Log in through a provider",
        description:
          "For a browser: sends it to the provider, which sends it back to the callback. With `return_to`, a path of " +
          "this hub, the callback leads there with `log_in_code`, to be traded at `POST /auth/oauth/exchange`.",
        params: providerParams,
        querystring: Type.Object(
          { return_to: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })) },
          { additionalProperties: false },
        ),
        response: { 302: Type.Null({ description: "To the provider" }), ...errorAnswers(400, 404, 503) },
      },
    },
    async ({ params, query }, reply) => {
      const begun = await beginLogIn(deps, params.provider, query.return_to);
      cookie.set(reply, begun.cookie, begunTtlMs);
      return reply.headers(notKept).status(302).header("location", begun.location).send(null);
    },
  );

  app.get(
    "/auth/oauth/:provider/callback",
    {
      config: { access: "public", limit: "address" },
      schema: {
        tags,
        security: [],
        summary: "Come back from a provider",
        description:
          "Where the provider sends the browser that began the log-in. It works once, within 10 minutes, in that browser. " +
          "The provider must have verified the e-mail address, unless the account was linked before.",
        params: providerParams,
        response: {
          200: Type.Object({ ...tokenFields, user_id: uuid }),
          302: Type.Null({ description: "To `return_to`, with `log_in_code`" }),
          ...errorAnswers(400, 401, 403, 404, 503),
        },
      },
    },
    async (request, reply) => {
      reply.headers(notKept);
      const { search } = new URL(request.url, deps.publicUrl);
      const origin = originOf(request);
      const { provider } = request.params;
      const finished = await finishLogIn(deps, { provider, search, cookie: cookie.read(request), origin });
      if (finished.kind === "return") {
        cookie.set(reply, finished.cookie, returnedTtlMs);
        return reply.status(302).header("location", finished.location).send(null);
      }
      cookie.clear(reply);
      return reply.send(await logInAs(deps, { ...finished, origin }));
    },
  );

  app.post(
    "/auth/oauth/exchange",
    {
      config: { access: "public", admission: "always" },
      schema: {
        tags,
        security: [],
        summary: "Trade the code of a log-in for tokens",
        description: "For the page that `return_to` named: once, within 60 seconds, in the browser that logged in.",
        body: Type.Object({ code: Type.String({ minLength: 1, maxLength: 100 }) }, { additionalProperties: false }),
        response: { 200: Type.Object({ ...tokenFields, user_id: uuid }), ...errorAnswers(400, 401) },
      },
    },
    async (request, reply) => {
      reply.headers(notKept);
      const proved = await exchangeCode(deps, { code: request.body.code, cookie: cookie.read(request) });
      cookie.clear(reply);
      return reply.send(await logInAs(deps, { ...proved, origin: originOf(request) }));
    },
  );
}

async function logInAs(
  deps: OauthDeps & { tokens: Tokens },
  { userId, provider, origin }: { userId: string; provider: string; origin: Origin },
) {
  const tokens = await openSession(deps, { userId, origin, method: `provider ${provider}` });
  return { ...tokens, user_id: userId };
}

const tags = ["Identity"];

const providerParams = Type.Object({
  provider: Type.String({ pattern: "^[a-z0-9_]{1,50}$", description: "the name of a log-in provider" }),
});

/** Addresses with codes and answers with tokens stay out of caches and of the next page's referrer. */
const notKept = { "cache-control": "no-store", "referrer-policy": "no-referrer" };
