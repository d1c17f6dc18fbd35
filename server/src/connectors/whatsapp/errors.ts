import type { RefusalReason } from "../connector.ts";
import { accountRefused, broken, graphVerdictOf, refused, throttled, type Verdict } from "../meta/errors.ts";

/** Null for a code that is not in the list. Source: Cloud API, Error codes. The message of an error is not used. */
export function verdictOf(code: number, subcode: number): Verdict | null {
  return verdicts.get(code) ?? graphVerdictOf(code, subcode);
}

/** Why a message failed after the platform accepted it. What a send would retry is final here. */
export function reasonOf(code: number): RefusalReason {
  const verdict = verdictOf(code, 0);
  return verdict === null || verdict.kind === "retry" ? "PLATFORM_REFUSED" : verdict.reason;
}

/** The platform's pair rate: one message in 6 s to one person, once the burst is used up. */
const pairRateMs = 6_000;

const verdicts = new Map<number, Verdict>([
  [131005, accountRefused("CREDENTIALS_INVALID")],
  [131031, accountRefused("ACCOUNT_RESTRICTED")],
  [131037, accountRefused("ACCOUNT_RESTRICTED")],
  [131042, accountRefused("ACCOUNT_RESTRICTED")],
  [131045, accountRefused("ACCOUNT_RESTRICTED")],
  [133010, accountRefused("ACCOUNT_RESTRICTED")],
  [130497, refused("ACCOUNT_RESTRICTED")], // only in this person's country
  [131000, broken],
  [131016, broken],
  [131057, { ...broken, scope: "account" }], // the number is in maintenance, about a minute
  [80007, throttled],
  [130429, throttled],
  [131048, throttled],
  [131056, { ...throttled, scope: "lane", afterMs: pairRateMs }],
  [131064, { ...throttled, scope: "lane" }], // counts people reached outside their window: replies still go out
  [132069, { ...throttled, scope: "lane" }],
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
  [131008, refused("PAYLOAD_INVALID")],
  [131009, refused("PAYLOAD_INVALID")],
  [131052, refused("PAYLOAD_INVALID")],
  [131053, refused("PAYLOAD_INVALID")],
  [131051, refused("PAYLOAD_NOT_SUPPORTED")],
  // A paused template (132015) may come back after hours; a lane does not wait that long.
  ...[131063, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132068].map(
    (code) => [code, refused("TEMPLATE_INVALID")] as const,
  ),
]);
