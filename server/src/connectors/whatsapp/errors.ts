import type { AccountProblem, RefusalReason } from "../connector.ts";

/** What a Graph error code means for a delivery. */
export type Verdict =
  | { kind: "refused"; reason: RefusalReason }
  | { kind: "account_refused"; reason: AccountProblem }
  | { kind: "retry"; scope: "lane" | "account"; platformFault: boolean; afterMs: number | null };

/** Null for a code that is not in the list. Source: Cloud API, Error codes. The message of an error is never looked at. */
export function verdictOf(code: number, subcode: number): Verdict | null {
  if (code === 100 && subcode === unknownObject) return account("CREDENTIALS_INVALID");
  if (code >= 200 && code <= 299) return account("CREDENTIALS_INVALID");
  return verdicts.get(code) ?? null;
}

/** Why a message failed after it was taken. What would be tried again on a send is over here. */
export function reasonOf(code: number): RefusalReason {
  const verdict = verdictOf(code, 0);
  return verdict === null || verdict.kind === "retry" ? "PLATFORM_REFUSED" : verdict.reason;
}

/** Of code 100: the object in the path does not exist, so the number's id is wrong. */
const unknownObject = 33;

/** The platform's pair rate: one message in 6 s to one person, once the burst is used up. */
const pairRateMs = 6_000;

const refused = (reason: RefusalReason): Verdict => ({ kind: "refused", reason });
const account = (reason: AccountProblem): Verdict => ({ kind: "account_refused", reason });
/** Too fast: everything of this number must wait. No sign of ill health. */
const throttled: Verdict = { kind: "retry", scope: "account", platformFault: false, afterMs: null };
/** The platform says that it failed; other lanes may work, and the breaker finds out. */
const broken: Verdict = { kind: "retry", scope: "lane", platformFault: true, afterMs: null };

const verdicts = new Map<number, Verdict>([
  // The token, and what it may do.
  [0, account("CREDENTIALS_INVALID")],
  [190, account("CREDENTIALS_INVALID")],
  [3, account("CREDENTIALS_INVALID")],
  [10, account("CREDENTIALS_INVALID")],
  [33, account("CREDENTIALS_INVALID")],
  [131005, account("CREDENTIALS_INVALID")],
  // The number or the business.
  [368, account("ACCOUNT_RESTRICTED")],
  [131031, account("ACCOUNT_RESTRICTED")],
  [131037, account("ACCOUNT_RESTRICTED")],
  [131042, account("ACCOUNT_RESTRICTED")],
  [131045, account("ACCOUNT_RESTRICTED")],
  [133010, account("ACCOUNT_RESTRICTED")],
  [130497, refused("ACCOUNT_RESTRICTED")], // only in this person's country
  // Failures of the platform.
  [1, broken],
  [2, broken],
  [131000, broken],
  [131016, broken],
  [131057, { ...broken, scope: "account" }], // the number is in maintenance, about a minute
  // Too much.
  [4, throttled],
  [80007, throttled],
  [130429, throttled],
  [131048, throttled],
  [131056, { ...throttled, scope: "lane", afterMs: pairRateMs }],
  [131064, { ...throttled, scope: "lane" }], // counts people reached outside their window: answers still go out
  [132069, { ...throttled, scope: "lane" }],
  // The person.
  [131021, refused("INVALID_RECIPIENT")],
  [131062, refused("INVALID_RECIPIENT")], // not by business-scoped id
  [131026, refused("RECIPIENT_UNREACHABLE")],
  [131030, refused("RECIPIENT_UNREACHABLE")], // not among the test numbers
  [131050, refused("RECIPIENT_BLOCKED")], // stopped marketing messages
  [131047, refused("WINDOW_CLOSED")],
  [131049, refused("PLATFORM_REFUSED")], // has had enough marketing for a day
  [130472, refused("PLATFORM_REFUSED")], // is in an experiment
  [137000, refused("PLATFORM_REFUSED")],
  [135000, refused("PLATFORM_REFUSED")],
  // The message.
  [100, refused("PAYLOAD_INVALID")],
  [131008, refused("PAYLOAD_INVALID")],
  [131009, refused("PAYLOAD_INVALID")],
  [131052, refused("PAYLOAD_INVALID")],
  [131053, refused("PAYLOAD_INVALID")],
  [131051, refused("PAYLOAD_NOT_SUPPORTED")],
  // The template. A paused one (132015) may come back after hours; a lane does not wait that long.
  ...[131063, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132068].map(
    (code) => [code, refused("TEMPLATE_INVALID")] as const,
  ),
]);
