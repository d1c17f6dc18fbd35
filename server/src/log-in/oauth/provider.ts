import type { Secret } from "../../lib/secret.ts";

/** One place where people can prove who they are, and where this hub is registered as a client. */
export interface LogInProvider {
  /** Names it in paths. */
  readonly name: string;
  /** Where the browser is sent. Throws CHANNEL_UNAVAILABLE when the provider does not answer. */
  authorizationUrl(request: AuthorizationRequest): Promise<URL>;
  /**
   * Trades the code in the address that the browser was sent back to for who it is. Checks `state` and `iss` of the
   * address, the code verifier, and issuer, audience, nonce, times and signature of an ID token. Throws FORBIDDEN when
   * the person or the provider declined, CHANNEL_UNAVAILABLE when the provider does not answer, and AUTH_INVALID for
   * every answer that cannot be believed.
   */
  identify(callback: URL, checks: CallbackChecks): Promise<ProvenIdentity>;
}

/** A client as the configuration names it. */
export interface ProviderConfig {
  kind: "oidc" | "github";
  name: string;
  /** As the provider writes it itself. */
  issuer: string;
  clientId: string;
  clientSecret: Secret;
  /** Separated by spaces. */
  scopes: string;
}

export interface AuthorizationRequest {
  redirectUri: string;
  state: string;
  nonce: string;
  /** The S256 challenge of the verifier that `CallbackChecks` names. */
  codeChallenge: string;
}

export interface CallbackChecks {
  state: string;
  nonce: string;
  codeVerifier: string;
}

/** What the provider says. `issuer` and `subject` are the person, for good. */
export interface ProvenIdentity {
  issuer: string;
  subject: string;
  email: string | null;
  /** Only where the provider says so itself. */
  isEmailVerified: boolean;
  username: string | null;
  displayName: string | null;
}
