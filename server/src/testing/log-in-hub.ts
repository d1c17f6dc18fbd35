import { systemClock } from "../lib/clock.ts";
import { openHttpClient } from "../lib/http.ts";
import { openMailer } from "../lib/mailer.ts";
import { Secret } from "../lib/secret.ts";
import { openProviders, type ProviderConfig } from "../log-in/log-in.ts";
import { logInRoutes } from "../rest/log-in.ts";
import { startIdentityHub } from "./identity-hub.ts";
import type { TestIssuer } from "./test-issuer.ts";

/** How browsers think they reach the hub of a test. */
export const publicUrl = "http://hub.test";

interface LogInHubOptions {
  registration?: "open" | "invite" | "closed";
  providers?: ProviderConfig[];
  smtpUrl?: string;
  publicUrl?: string;
}

export type LogInHub = Awaited<ReturnType<typeof startLogInHub>>;

/** The identity hub with all login routes, and browsers that keep their cookies. */
export async function startLogInHub(options: LogInHubOptions = {}) {
  const outbound = openHttpClient({ connectionsPerHost: 4, allowPrivate: true });
  const log = { info() {}, warn() {}, error: console.error };
  const url = options.smtpUrl === undefined ? null : new Secret(options.smtpUrl);
  const mailer = openMailer({ url, from: "Chat4All <hub@hub.test>", clock: systemClock, log });
  const hub = await startIdentityHub({
    ...(options.registration === undefined ? {} : { registration: options.registration }),
    more: async (app, deps) => {
      const providers = await openProviders(options.providers ?? [], { http: outbound.http, clock: deps.clock });
      logInRoutes(app, { ...deps, mailer, providers, publicUrl: options.publicUrl ?? publicUrl });
    },
  });
  hub.more.use(mailer);
  hub.more.defer(() => outbound.close());
  return {
    ...hub,
    mailer,
    openBrowser: () => openBrowser(hub.url),
  };
}

export type TestBrowser = ReturnType<typeof openBrowser>;

/** Keeps cookies, follows no redirect. */
function openBrowser(url: string) {
  const cookies = new Map<string, string>();
  return {
    cookies,
    async send(method: string, path: string, body?: unknown) {
      const answer = await fetch(url + path, {
        method,
        redirect: "manual",
        headers: {
          cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; "),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      for (const line of answer.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!;
        if (value === "") cookies.delete(name!);
        else cookies.set(name!, value!);
      }
      const text = await answer.text();
      // biome-ignore lint/suspicious/noExplicitAny: a test asserts on the body, of any type
      const parsed: any = text === "" ? null : JSON.parse(text);
      return { status: answer.status, headers: answer.headers, location: answer.headers.get("location"), body: parsed };
    },
  };
}

export function issuerConfig(name: string, issuer: TestIssuer): ProviderConfig {
  return {
    kind: "oidc",
    name,
    issuer: issuer.url,
    clientId: issuer.client.id,
    clientSecret: new Secret(issuer.client.secret),
    scopes: "openid email profile",
  };
}
