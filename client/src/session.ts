import type { Tokens } from "../../contract/openapi.ts";
import { ApiError, type Call, type Credential } from "./call.ts";

export interface Session {
  /** A valid token: logs in, or refreshes a token that is about to expire. */
  token(): Promise<string>;
  /** A token instead of a refused one; the same one if there is no other. */
  renew(refused: string): Promise<string>;
  /** Logs out. Safe to call twice. */
  end(): Promise<void>;
}

/** How long before its end a token is refreshed, in milliseconds. */
const aheadMs = 30_000;

/** Keeps a user logged in. Parallel calls share one login and one refresh: a refresh token works once. */
export function openSession(call: Call, credential: Credential): Session {
  let tokens: Tokens | null = null;
  let age = () => 0;
  let renewing: Promise<string> | null = null;

  async function renew(): Promise<string> {
    const refreshToken = tokens?.refresh_token;
    tokens = null;
    const next = (refreshToken === undefined ? null : await refresh(refreshToken)) ?? (await logIn());
    tokens = next;
    age = openStopwatch();
    return next.access_token;
  }

  /** Null when it is refused: then the password is needed again. */
  async function refresh(refreshToken: string): Promise<Tokens | null> {
    try {
      const body = { refresh_token: refreshToken };
      return (await call<Tokens>("POST", "/auth/refresh", { body, isPublic: true })).body;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  }

  async function logIn(): Promise<Tokens> {
    const body = credential as { username: string; password: string };
    return (await call<Tokens>("POST", "/auth/token", { body, isPublic: true })).body;
  }

  function renewOnce(): Promise<string> {
    renewing ??= renew().finally(() => {
      renewing = null;
    });
    return renewing;
  }

  return {
    async token() {
      if ("token" in credential) return credential.token;
      if (tokens !== null && age() < tokens.expires_in * 1000 - aheadMs) return tokens.access_token;
      return renewOnce();
    },
    async renew(refused) {
      if ("token" in credential) return credential.token;
      if (tokens !== null && tokens.access_token !== refused) return tokens.access_token;
      return renewOnce();
    },
    async end() {
      if (tokens === null) return;
      const headers = { authorization: `Bearer ${tokens.access_token}` };
      tokens = null;
      await call("POST", "/auth/logout", { headers, isPublic: true });
    },
  };
}

/**
 * Milliseconds since now, by the clock that shows more: the time of day can be set back, and the monotonic clock may stop
 * while the machine sleeps.
 */
function openStopwatch(): () => number {
  const [wallMs, steadyMs] = [Date.now(), performance.now()];
  return () => Math.max(Date.now() - wallMs, performance.now() - steadyMs);
}
