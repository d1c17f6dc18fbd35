import type { Secret } from "../../lib/secret.ts";

/** A place where people can prove who they are, and where this hub is registered as a client. */
export interface LogInProvider {
  readonly name: string;
  /** The URL for the browser. Throws CHANNEL_UNAVAILABLE when the provider does not respond. */
  authorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * Exchanges the code in the callback URL for the identity. Checks `state` and `iss` of the URL, the code verifier,
   * and issuer, audience, nonce, times and signature of an ID token. Throws FORBIDDEN when the person or the provider
   * declined, CHANNEL_UNAVAILABLE when the provider does not respond, and AUTH_INVALID for every invalid response.
   */
  identify(callback: URL, checks: CallbackChecks): Promise<ProvenIdentity>;
}

export interface ProviderConfig {
  kind: "oidc" | "github";
  name: string;
  issuer: string;
  clientId: string;
  clientSecret: Secret;
  scopes: string;
}

interface AuthorizationRequest {
  redirectUri: string;
  state: string;
  nonce: string;
  codeChallenge: string;
}

interface CallbackChecks {
  state: string;
  nonce: string;
  codeVerifier: string;
}

/** `issuer` and `subject` identify the person permanently. */
export interface ProvenIdentity {
  issuer: string;
  subject: string;
  email: string | null;
  isEmailVerified: boolean;
  username: string | null;
  displayName: string | null;
}
