import * as oauth from "openid-client";
import type { HttpClient } from "../../lib/http.ts";
import type { LogInProvider, ProvenIdentity, ProviderConfig } from "./provider.ts";
import { providerError, providerFetch, providerTimeoutMs } from "./provider-requests.ts";

/** Source: GitHub Docs, "Authorizing OAuth apps" and REST API "Users" and "Emails". */
const githubApi = "https://api.github.com";

/** GitHub supports plain OAuth 2 only: the user is read with the access token, which is then discarded. */
export function openGithubProvider(
  config: ProviderConfig,
  { http, apiUrl = githubApi }: { http: HttpClient; apiUrl?: string },
) {
  const { name, issuer } = config;
  const client = new oauth.Configuration(
    {
      issuer,
      authorization_endpoint: `${issuer}/login/oauth/authorize`,
      token_endpoint: `${issuer}/login/oauth/access_token`,
    },
    config.clientId,
    undefined,
    oauth.ClientSecretPost(config.clientSecret.reveal()),
  );
  client[oauth.customFetch] = providerFetch(http);
  client.timeout = providerTimeoutMs / 1000;
  if (issuer.startsWith("http:")) oauth.allowInsecureRequests(client);

  async function get(path: string, accessToken: string): Promise<unknown> {
    const headers = new Headers({ accept: "application/vnd.github+json", "user-agent": "chat4all" });
    const url = new URL(`${apiUrl}${path}`);
    const answer = await oauth.fetchProtectedResource(client, accessToken, url, "GET", null, headers);
    if (answer.status !== 200) throw new oauth.ClientError(`status ${answer.status} from ${path}`, { cause: answer });
    return answer.json();
  }

  return {
    name,

    async authorizationUrl({ redirectUri, state, codeChallenge }) {
      return oauth.buildAuthorizationUrl(client, {
        redirect_uri: redirectUri,
        scope: config.scopes,
        state,
        code_challenge: codeChallenge,
        code_challenge_method: "S256",
      });
    },

    async identify(callback, { state, codeVerifier }) {
      try {
        const checks = { expectedState: state, pkceCodeVerifier: codeVerifier };
        const { access_token } = await oauth.authorizationCodeGrant(client, callback, checks);
        const [user, emails] = await Promise.all([get("/user", access_token), get("/user/emails", access_token)]);
        return readUser(issuer, user, emails);
      } catch (error) {
        throw providerError(name, error);
      }
    },
  } satisfies LogInProvider;
}

/** The numeric id identifies the person: a login can be given up, and taken by another person. */
function readUser(issuer: string, user: unknown, emails: unknown): ProvenIdentity {
  const { id, login, name } = user as { id?: unknown; login?: unknown; name?: unknown };
  if (!Number.isSafeInteger(id) || !Array.isArray(emails)) throw new TypeError("the response is not a GitHub user");
  const primary = emails.find((item) => item?.primary === true) as { email?: unknown; verified?: unknown } | undefined;
  return {
    issuer,
    subject: String(id),
    email: typeof primary?.email === "string" ? primary.email : null,
    isEmailVerified: primary?.verified === true,
    username: typeof login === "string" ? login : null,
    displayName: typeof name === "string" && name !== "" ? name : null,
  };
}
