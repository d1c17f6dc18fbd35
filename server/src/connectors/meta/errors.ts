import type { AccountProblem, RefusalReason } from "../connector.ts";

export type Verdict =
  | { kind: "refused"; reason: RefusalReason }
  | { kind: "account_refused"; reason: AccountProblem }
  | { kind: "retry"; scope: "lane" | "account"; platformFault: boolean; afterMs: number | null };

export const refused = (reason: RefusalReason): Verdict => ({ kind: "refused", reason });
export const accountRefused = (reason: AccountProblem): Verdict => ({ kind: "account_refused", reason });
/** Too many requests: the whole account waits. Not a fault of the platform. */
export const throttled = { kind: "retry", scope: "account", platformFault: false, afterMs: null } as const;
/** The platform reports a fault of its own; other lanes may work, and the circuit breaker counts it. */
export const broken = { kind: "retry", scope: "lane", platformFault: true, afterMs: null } as const;

export const tokenRefused = 190;
/** Of code 100: the object in the path does not exist, so the account's id is wrong. */
const unknownObject = 33;

/** The codes that all platforms of the Graph API share; null for others. Source: Graph API, Handling errors. */
export function graphVerdictOf(code: number, subcode: number): Verdict | null {
  if (code === 100 && subcode === unknownObject) return accountRefused("CREDENTIALS_INVALID");
  if (code >= 200 && code <= 299) return accountRefused("CREDENTIALS_INVALID");
  return verdicts.get(code) ?? null;
}

const verdicts = new Map<number, Verdict>([
  [0, accountRefused("CREDENTIALS_INVALID")],
  [1, broken],
  [2, broken],
  [3, accountRefused("CREDENTIALS_INVALID")],
  [4, throttled],
  [10, accountRefused("CREDENTIALS_INVALID")],
  [33, accountRefused("CREDENTIALS_INVALID")],
  [100, refused("PAYLOAD_INVALID")],
  [tokenRefused, accountRefused("CREDENTIALS_INVALID")],
  [368, accountRefused("ACCOUNT_RESTRICTED")],
]);
