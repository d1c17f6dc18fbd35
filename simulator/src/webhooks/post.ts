import type { Account } from "../accounts.ts";
import type { HttpClient } from "../http/client.ts";
import type { Random } from "../random.ts";
import type { ChannelSettings } from "../settings.ts";
import type { WebhookEvent, WebhookRules } from "./event.ts";

export interface SenderParts {
  rules: WebhookRules;
  now: () => number;
  at: (dueAt: number, job: () => void) => void;
  random: Random;
  http: HttpClient;
  account: () => Account;
  settings: () => ChannelSettings;
  /** Whether the event still waits: a reset or a confirmation may have ended it. */
  isPending: (event: WebhookEvent) => boolean;
  /** The receiver has it, or it has expired. */
  finish: (events: readonly WebhookEvent[]) => void;
}

export interface Sender {
  push(event: WebhookEvent): void;
  retarget(): void;
  clear(): void;
}

/** Of one POST; `retryAfterMs` is in real milliseconds from now. */
type PostOutcome = { kind: "accepted" } | { kind: "refused"; retryAfterMs: number; reason: string };

/** One try. `failures` counts this unit's earlier ones. Never rejects. */
export async function postWebhook(
  parts: SenderParts,
  url: string,
  events: readonly WebhookEvent[],
  failures: number,
): Promise<PostOutcome> {
  const settings = parts.settings();
  const { body, headers } = parts.rules.request(parts.account(), events);
  const outcome = await parts.http.send({ method: "POST", url, headers, body, timeoutMs: settings.webhook_timeout_ms });
  if (outcome.kind === "answer" && parts.rules.accepts(outcome.status)) return { kind: "accepted" };

  const asked = outcome.kind === "answer" ? retryAfterMs(outcome.headers["retry-after"], parts.rules) : undefined;
  const waitMs = asked ?? parts.rules.retryDelayMs(failures + 1, parts.random);
  const reason = outcome.kind === "answer" ? `Wrong response from the webhook: ${outcome.status}` : outcome.reason;
  return { kind: "refused", retryAfterMs: waitMs / settings.time_factor, reason };
}

export function isExpired(parts: SenderParts, event: WebhookEvent): boolean {
  return parts.now() - event.happenedAt > parts.rules.expiresMs / parts.settings().time_factor;
}

function retryAfterMs(header: string | undefined, rules: WebhookRules): number | undefined {
  if (rules.maxRetryAfterMs === 0 || header === undefined || !/^\d{1,6}$/.test(header)) return undefined;
  const askedMs = Number(header) * 1000;
  return askedMs <= rules.maxRetryAfterMs ? askedMs : undefined;
}
