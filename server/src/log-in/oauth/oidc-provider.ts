import * as oidc from "openid-client";
import type { Clock } from "../../lib/clock.ts";
import type { HttpClient } from "../../lib/http.ts";
import type { LogInProvider, ProvenIdentity, ProviderConfig } from "./provider.ts";
import { isUnavailable, providerError, providerFetch, providerTimeoutMs } from "./provider-requests.ts";

const discoveryTtlMs = 3_600_000;
const discoveryTries = 2;

/** Any OpenID Connect issuer. Its metadata is fetched at the first login, and cached. */
export function openOidcProvider(config: ProviderConfig, { http, clock }: { http: HttpClient; clock: Clock }) {
  const { name } = config;
  const discovered = cached(clock, () => discover(config, http));

  return {
    name,

    async authorizationUrl({ redirectUri, state, nonce, codeChallenge }) {
      try {
        return oidc.buildAuthorizationUrl(await discovered(), {
          redirect_uri: redirectUri,
          scope: config.scopes,
          state,
          nonce,
          code_challenge: codeChallenge,
          code_challenge_method: "S256",
        });
      } catch (error) {
        throw providerError(name, error);
      }
    },

    async identify(callback, { state, nonce, codeVerifier }) {
      try {
        const client = await discovered();
        const tokens = await oidc.authorizationCodeGrant(client, callback, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
        });
        const claims = tokens.claims()!;
        const { issuer } = client.serverMetadata();
        // Some issuers keep the ID token short, and return the other claims for the access token.
        const isComplete = claims.email !== undefined && claims.email_verified !== undefined;
        const isAsked = !isComplete && client.serverMetadata().userinfo_endpoint !== undefined;
        const complete = !isAsked ? claims : await oidc.fetchUserInfo(client, tokens.access_token, claims.sub);
        return readClaims({ ...claims, ...complete }, issuer);
      } catch (error) {
        throw providerError(name, error);
      }
    },
  } satisfies LogInProvider;
}

async function discover(config: ProviderConfig, http: HttpClient): Promise<oidc.Configuration> {
  const issuer = new URL(config.issuer);
  const mayBeInsecure = issuer.protocol === "http:";
  for (let tries = 1; ; tries += 1) {
    try {
      return await oidc.discovery(issuer, config.clientId, undefined, secretAsAsked(config), {
        [oidc.customFetch]: providerFetch(http),
        timeout: providerTimeoutMs / 1000,
        // Without the second, a token that came over TLS would be accepted with any signature.
        execute: [...(mayBeInsecure ? [oidc.allowInsecureRequests] : []), oidc.enableNonRepudiationChecks],
      });
    } catch (error) {
      if (tries >= discoveryTries || !isUnavailable(error)) throw error;
    }
  }
}

/** In the body if the issuer supports that, else in the header, which every issuer supports. */
function secretAsAsked({ clientSecret }: ProviderConfig): oidc.ClientAuth {
  return (server, client, body, headers) => {
    const takesBody = server.token_endpoint_auth_methods_supported?.includes("client_secret_post") === true;
    const authenticate = takesBody ? oidc.ClientSecretPost : oidc.ClientSecretBasic;
    authenticate(clientSecret.reveal())(server, client, body, headers);
  };
}

function readClaims(claims: Record<string, unknown>, issuer: string): ProvenIdentity {
  const text = (name: string) => {
    const value = claims[name];
    return typeof value === "string" && value !== "" && !/\p{Cc}/u.test(value) ? value : null;
  };
  const subject = text("sub");
  // Source: OpenID Connect Core 1.0, section 2: at most 255 characters of ASCII.
  if (subject === null || subject.length > 255) throw new TypeError("an ID token without a valid subject");
  return {
    issuer,
    subject,
    email: text("email"),
    // A string "true" is no proof: the specification says boolean.
    isEmailVerified: claims.email_verified === true,
    username: text("preferred_username"),
    displayName: text("name"),
  };
}

/** Caches the result for `discoveryTtlMs`; concurrent callers share one call, and a failure is not cached. */
function cached<T>(clock: Clock, work: () => Promise<T>): () => Promise<T> {
  let kept: { at: number; result: Promise<T> } | null = null;
  return () => {
    if (kept !== null && clock.elapsed() - kept.at < discoveryTtlMs) return kept.result;
    const entry = { at: clock.elapsed(), result: work() };
    kept = entry;
    entry.result.catch(() => {
      if (kept === entry) kept = null;
    });
    return entry.result;
  };
}
