import type { Answer } from "./answer.ts";
import type { Fault, FaultName } from "./faults.ts";
import { MAX_WAITING_FOR_SENDS } from "./webhooks/webhooks.ts";
import type { World } from "./world.ts";

/** How long `slow` waits and `timeout_after_accept` stays silent when not told. */
const DEFAULT_SLOW_MS = 2_000;
const DEFAULT_SILENCE_MS = 30_000;

/** Why a send was not accepted though nothing is wrong with it. */
export type Refusal = "rate_limit" | "server_error" | "permanent" | "overloaded";

const refusals: readonly FaultName[] = ["connection_reset", "rate_limit", "server_error", "permanent"];

/** What a face gives so that its sends can be broken on purpose. */
export interface SendRules {
  channel: string;
  /** The platform's own words for a refusal. */
  refuse(refusal: Refusal, fault: Fault | undefined): Answer;
}

/**
 * Runs one send through the faults: it may be held up, refused, reset, or accepted without a word.
 * `accept` validates, records and answers; it runs at most once. `to` is undefined when the call names nobody.
 */
export function runSend(
  world: World,
  rules: SendRules,
  to: string | undefined,
  accept: () => Answer,
): Answer | Promise<Answer> {
  const { faults } = world;
  const slow = faults.hit(rules.channel, ["slow"], to);
  if (!slow) return sendNow(world, rules, to, accept);
  return wait(slow.delay_ms ?? DEFAULT_SLOW_MS).then(() => sendNow(world, rules, to, accept));
}

function sendNow(world: World, rules: SendRules, to: string | undefined, accept: () => Answer): Answer {
  const refused = world.faults.hit(rules.channel, refusals, to);
  if (refused?.fault === "connection_reset") return { kind: "reset" };
  if (refused) return rules.refuse(refused.fault as Refusal, refused);
  if (world.webhooks.waiting >= MAX_WAITING_FOR_SENDS) return rules.refuse("overloaded", undefined);

  const answer = accept();
  const wasAccepted = answer.kind === "json" && answer.status === 200;
  if (!wasAccepted) return answer;
  const silent = world.faults.hit(rules.channel, ["timeout_after_accept"], to);
  return silent ? { kind: "silence", forMs: silent.delay_ms ?? DEFAULT_SILENCE_MS } : answer;
}

/** What meets every call to a platform before it looks at it: the latency of its settings, and `down`. */
export function beforeCall(world: World, channel: string): Fault | Promise<Fault | undefined> | undefined {
  const { latency_ms } = world.settings.of(channel);
  const down = world.faults.hit(channel, ["down"], undefined);
  return latency_ms === 0 ? down : wait(latency_ms).then(() => down);
}

/** The seconds that a `rate_limit` asks for. */
export function retryAfterSeconds(fault: Fault | undefined): number {
  return fault?.retry_after_s ?? 1;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}
