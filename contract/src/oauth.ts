import { Type } from "typebox";
import { UserTokens } from "./auth.ts";
import { operations } from "./operation.ts";
import { closed, named } from "./schemas.ts";

const Providers = named(
  "LogInProviders",
  Type.Object(
    { data: Type.Array(Type.Object({ provider: Type.String(), url: Type.String() })) },
    { description: "The login providers." },
  ),
  { data: [{ provider: "google", url: "https://hub.example.com/auth/oauth/google" }] },
);

const LogInCode = named("LogInCode", Type.Object({ code: Type.String({ minLength: 1, maxLength: 100 }) }, closed), {
  code: "q3JvZ2xpZg5nR1N0c2FtcGxl",
});

const params = Type.Object({
  provider: Type.String({ pattern: "^[a-z0-9_]{1,50}$", description: "The name of a login provider." }),
});

export const oauth = operations("Authentication", {
  listLogInProviders: {
    method: "GET",
    path: "/auth/providers",
    summary: "List the login providers",
    description: "What a login page offers besides username and password.",
    access: "public",
    answers: { 200: Providers },
  },
  startProviderLogIn: {
    method: "GET",
    path: "/auth/oauth/{provider}",
    summary: "Log in through a provider",
    description:
      "For a browser: redirects to the provider, which redirects to the callback. With `return_to`, a path of this hub, the " +
      "callback redirects there with `log_in_code`. Exchange this code at `POST /auth/oauth/exchange`.",
    access: "public",
    limit: "address",
    params,
    query: Type.Object({ return_to: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })) }, closed),
    answers: { 302: null },
  },
  finishProviderLogIn: {
    method: "GET",
    path: "/auth/oauth/{provider}/callback",
    summary: "Finish a login through a provider",
    description:
      "The provider redirects the browser that started the login to this URL. It works once, within 10 minutes, in that browser. The " +
      "provider must have verified the email address, unless the user was linked to it before. Redirects (302) to " +
      "`return_to` with `log_in_code`, or without a `return_to` returns 200 with the tokens.",
    access: "public",
    limit: "address",
    params,
    answers: { 200: UserTokens, 302: null },
    errors: [401, 403],
  },
  exchangeLogInCode: {
    method: "POST",
    path: "/auth/oauth/exchange",
    summary: "Exchange a login code for tokens",
    description: "For the page at `return_to`. Works once, within 60 seconds, in the browser that logged in.",
    access: "public",
    admission: "always",
    body: LogInCode,
    answers: { 200: UserTokens },
    errors: [401],
  },
});
