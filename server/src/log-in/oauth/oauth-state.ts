import type { Clock } from "../../lib/clock.ts";
import type { SecretBox } from "../../lib/secret-box.ts";

export const oauthStateTtlMs = 600_000;
export const logInCodeTtlMs = 60_000;

/** Sealed into a cookie: the hub stores nothing for abandoned logins, and a response counts only in this browser. */
export interface OauthState {
  step: "started";
  provider: string;
  state: string;
  nonce: string;
  codeVerifier: string;
  returnTo: string | null;
}

/** The authenticated user, until the page exchanges its code for tokens. */
interface LogInCode {
  step: "returned";
  provider: string;
  userId: string;
  code: string;
}

type CookieContent = OauthState | LogInCode;

export function sealCookie({ box, clock }: { box: SecretBox; clock: Clock }, kept: CookieContent): string {
  const ttlMs = kept.step === "started" ? oauthStateTtlMs : logInCodeTtlMs;
  return box.seal(JSON.stringify({ ...kept, expiresAtMs: clock.now() + ttlMs }), context).toString("base64url");
}

/** Null for a cookie that is missing, forged, expired, or of another step. */
export function openCookie<Step extends CookieContent["step"]>(
  { box, clock }: { box: SecretBox; clock: Clock },
  step: Step,
  cookie: string | undefined,
): (Extract<CookieContent, { step: Step }> & { expiresAtMs: number }) | null {
  const text = cookie === undefined ? null : openOrNull(box, cookie);
  if (text === null) return null;
  const kept = JSON.parse(text) as Extract<CookieContent, { step: Step }> & { expiresAtMs: number };
  return kept.step === step && clock.now() < kept.expiresAtMs ? kept : null;
}

function openOrNull(box: SecretBox, cookie: string): string | null {
  try {
    return box.open(Buffer.from(cookie, "base64url"), context);
  } catch {
    return null;
  }
}

const context = "log-in cookie";
