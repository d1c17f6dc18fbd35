import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Logger } from "pino";
import type { Origin } from "../../audit/audit.ts";
import { hashToken } from "../../credentials/credentials.ts";
import type { PipelineDb } from "../../database-roles.ts";
import { RequestError } from "../../errors.ts";
import type { Clock } from "../../lib/clock.ts";
import type { SecretBox } from "../../lib/secret-box.ts";
import { recordRefused } from "../refused-log-ins.ts";
import * as rows from "./identity-rows.ts";
import { findOrCreateUser, type IdentityUserDeps } from "./identity-user.ts";
import { type OauthState, openCookie, sealCookie } from "./oauth-state.ts";
import type { LogInProvider } from "./provider.ts";

export interface OauthDeps extends IdentityUserDeps {
  box: SecretBox;
  log: Pick<Logger, "warn">;
  providers: ReadonlyMap<string, LogInProvider>;
  publicUrl: string;
}

/**
 * Login through a provider, in three requests of one browser. `beginLogIn` seals state, nonce and code verifier into a
 * cookie and redirects to the provider. `finishLogIn` receives the provider's code; state and cookie must match, and
 * work once; then a user is found, linked or created. `exchangeCode`, only with `return_to`, exchanges a code of ours
 * for tokens, which therefore never appear in a URL. That code works once, for 60 s, and only with the cookie.
 */
export async function beginLogIn(
  deps: OauthDeps,
  providerName: string,
  returnTo: string | undefined,
): Promise<{ location: string; cookie: string }> {
  const provider = requireProvider(deps, providerName);
  const oidc = await import("openid-client");
  const started: OauthState = {
    step: "started",
    provider: provider.name,
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
    codeVerifier: oidc.randomPKCECodeVerifier(),
    returnTo: returnTo === undefined ? null : ownPage(deps.publicUrl, returnTo),
  };
  const url = await logFailure(deps, provider, () =>
    oidc.calculatePKCECodeChallenge(started.codeVerifier).then((codeChallenge) =>
      provider.authorizationUrl({
        redirectUri: callbackUrl(deps.publicUrl, provider.name),
        state: started.state,
        nonce: started.nonce,
        codeChallenge,
      }),
    ),
  );
  return { location: url.href, cookie: sealCookie(deps, started) };
}

type Finished =
  | { kind: "logged in"; userId: string; provider: string }
  | { kind: "return"; location: string; cookie: string };

/** AUTH_INVALID unless this browser started the login within 10 minutes, and has not finished it; see `identify`. */
export async function finishLogIn(
  deps: OauthDeps,
  request: { provider: string; search: string; cookie: string | undefined; origin: Origin },
): Promise<Finished> {
  const provider = requireProvider(deps, request.provider);
  const started = openCookie(deps, "started", request.cookie);
  const callback = new URL(callbackUrl(deps.publicUrl, provider.name) + request.search);
  const states = callback.searchParams.getAll("state");
  if (
    started === null ||
    started.provider !== provider.name ||
    states.length !== 1 ||
    !isSame(states[0]!, started.state)
  ) {
    throw invalidLogIn(deps.publicUrl);
  }
  // Before the provider is asked: the state cannot be used again, with any result.
  await spend(deps, started.state, started.expiresAtMs);
  const settling = { provider: provider.name, origin: request.origin };
  const userId = await recordRefusal(deps, request.origin, async () =>
    findOrCreateUser(deps, settling, await logFailure(deps, provider, () => provider.identify(callback, started))),
  );
  if (started.returnTo === null) return { kind: "logged in", userId, provider: provider.name };
  const code = randomBytes(32).toString("base64url");
  const page = new URL(started.returnTo);
  page.searchParams.set("log_in_code", code);
  const cookie = sealCookie(deps, { step: "returned", provider: provider.name, userId, code });
  return { kind: "return", location: page.href, cookie };
}

/** AUTH_INVALID for a code that is not this browser's, was used, or is older than 60 s. */
export async function exchangeCode(
  deps: OauthDeps,
  { code, cookie }: { code: string; cookie: string | undefined },
): Promise<{ userId: string; provider: string }> {
  const returned = openCookie(deps, "returned", cookie);
  if (returned === null || !isSame(code, returned.code)) throw invalidLogIn(deps.publicUrl);
  await spend(deps, returned.code, returned.expiresAtMs);
  return { userId: returned.userId, provider: returned.provider };
}

export function deleteOldUsedValues({ db, clock }: { db: PipelineDb; clock: Clock }): Promise<number> {
  return rows.deleteOldUsedValues(db, new Date(clock.now()));
}

function requireProvider({ providers }: OauthDeps, name: string): LogInProvider {
  const provider = providers.get(name);
  if (provider !== undefined) return provider;
  throw new RequestError(
    "RESOURCE_NOT_FOUND",
    "There is no such login provider on this hub: GET /auth/providers lists them.",
  );
}

function callbackUrl(publicUrl: string, provider: string): string {
  return `${publicUrl}/auth/oauth/${provider}/callback`;
}

/** The URL of a page of this hub. VALIDATION_ERROR for a path that leads elsewhere in any spelling. */
function ownPage(publicUrl: string, path: string): string {
  const { origin } = new URL(publicUrl);
  const page = path.startsWith("/") ? URL.parse(path, origin) : null;
  if (page?.origin === origin) return page.href;
  throw new RequestError("VALIDATION_ERROR", "return_to must be a path of this hub, such as /docs.", {
    details: { field: "return_to" },
  });
}

async function logFailure<T>({ log }: OauthDeps, { name }: LogInProvider, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isOurs = error instanceof RequestError && error.cause === undefined;
    if (!isOurs) {
      const cause = error instanceof RequestError ? error.cause : error;
      log.warn({ provider: name, ...reasonOf(cause) }, "a login through a provider failed");
    }
    throw error;
  }
}

/** Contains neither the URL with its code nor a token. */
function reasonOf(error: unknown): { code: string; reason: string } {
  const known = error as { code?: unknown; message?: unknown };
  return { code: String(known.code ?? "unknown"), reason: String(known.message ?? "") };
}

/** Records a refusal in the audit log, but not a request that no login of the browser started. */
async function recordRefusal<T>({ db }: OauthDeps, origin: Origin, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isRefusal = error instanceof RequestError && ["AUTH_INVALID", "FORBIDDEN"].includes(error.code);
    if (isRefusal) await recordRefused(db, origin, null, "provider_log_in");
    throw error;
  }
}

async function spend({ db, publicUrl }: OauthDeps, value: string, expiresAtMs: number): Promise<void> {
  if (!(await rows.useOnce(db, hashToken(value), new Date(expiresAtMs)))) throw invalidLogIn(publicUrl);
}

function isSame(a: string, b: string): boolean {
  return timingSafeEqual(hashToken(a), hashToken(b));
}

function invalidLogIn(publicUrl: string): RequestError {
  return new RequestError(
    "AUTH_INVALID",
    `This login was not started in this browser, took too long, or is already finished: start it again at ${publicUrl}.`,
  );
}
