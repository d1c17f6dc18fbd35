import type { Clock } from "../lib/clock.ts";
import { type HttpAnswer, type HttpClient, HttpError } from "../lib/http.ts";
import { urlProblem } from "../lib/outbound-url.ts";
import { retryAfterMs } from "../lib/retry-after.ts";
import { MissingKeyError, type SecretBox } from "../lib/secret-box.ts";
import type { SealedEndpoint } from "./endpoint-rows.ts";
import { openWebhookSecret, signatureHeaders } from "./secrets.ts";

export interface SendDeps {
  http: HttpClient;
  clock: Clock;
  secretBox: SecretBox;
  /** Whether endpoints may be on private IP addresses, and without TLS. */
  allowPrivate: boolean;
}

export interface Outcome {
  startedAt: Date;
  durationMs: number;
  isSuccess: boolean;
  statusCode: number | null;
  error: string | null;
  answer: string | null;
  askedMs: number | null;
}

/** From the name look-up to the last byte of the response. */
export const attemptTimeoutMs = 15_000;
/** More is read than kept, so that the connection can be reused. */
export const answerCut = { readBytes: 64 * 1024, keptBytes: 4 * 1024 };
const storedAnswerBytes = 1024;

/** The hub could not make the attempt, such as with a secret that it cannot open. */
export function failedHere(startedAt: Date): Outcome {
  const error = "The hub could not send it. The reason is in the log of the hub.";
  return { ...failure, startedAt, durationMs: 0, error };
}

const failure = { isSuccess: false, statusCode: null, error: null, answer: null, askedMs: null };

export const goneStatus = 410;

/** One attempt. Null when `signal` ended it; throws only for a fault of the hub itself. */
export async function sendWebhook(
  { http, clock, secretBox, allowPrivate }: SendDeps,
  endpoint: SealedEndpoint,
  delivery: { webhook_delivery_id: string; body: string },
  signal?: AbortSignal,
): Promise<Outcome | null> {
  const startedAt = new Date(clock.now());
  const startMs = clock.elapsed();
  const ended = (facts: Partial<Outcome>): Outcome => {
    return { ...failure, startedAt, durationMs: Math.round(clock.elapsed() - startMs), ...facts };
  };
  // The rule may be stricter now than when the endpoint was created.
  const problem = urlProblem(endpoint.url, allowPrivate);
  if (problem !== null) return ended({ error: `Not sent: the URL ${problem}` });
  const signed = { webhookId: delivery.webhook_delivery_id, atMs: startedAt.getTime(), body: delivery.body };
  const secrets = secretsOf(endpoint, secretBox, startedAt);
  try {
    const answer = await http({
      method: "POST",
      url: endpoint.url,
      headers: {
        "content-type": "application/json",
        "user-agent": userAgent,
        ...signatureHeaders(secrets, signed),
      },
      body: delivery.body,
      timeoutMs: attemptTimeoutMs,
      ...(signal && { signal }),
    });
    return ended(judge(answer, clock.now()));
  } catch (error) {
    if (signal?.aborted) return null;
    if (!(error instanceof HttpError)) throw error;
    return ended({ error: error.message.replaceAll("\0", "").slice(0, 500) });
  }
}

const userAgent = "Chat4All/1 (webhooks)";

/** False when a secret of the endpoint is sealed with a key that only another process has. */
export function holdsKeysOf(endpoint: SealedEndpoint, box: SecretBox, at: Date): boolean {
  try {
    secretsOf(endpoint, box, at);
    return true;
  } catch (error) {
    // Any other fault becomes a failed attempt, which admins see.
    return !(error instanceof MissingKeyError);
  }
}

function secretsOf(endpoint: SealedEndpoint, box: SecretBox, at: Date): string[] {
  const { webhook_endpoint_id, secret_sealed, old_secret_sealed, old_secret_until } = endpoint;
  const isOldValid = old_secret_sealed !== null && old_secret_until !== null && old_secret_until > at;
  const sealed = isOldValid ? [secret_sealed, old_secret_sealed] : [secret_sealed];
  return sealed.map((envelope) => openWebhookSecret(box, webhook_endpoint_id, envelope));
}

function judge({ status, headers, body }: HttpAnswer, nowMs: number): Partial<Outcome> {
  const answer = storable(body);
  if (status >= 200 && status < 300) return { isSuccess: true, statusCode: status, answer };
  const why = status >= 300 && status < 400 ? " Redirects are not followed." : "";
  const error = `The endpoint returned ${status}.${why}`;
  return { statusCode: status, answer, error, askedMs: retryAfterMs(headers["retry-after"], nowMs) };
}

/** At most `storedAnswerBytes`, without a cut character and without U+0000, which PostgreSQL cannot store. */
function storable(body: string): string {
  const cut = Buffer.from(body.replaceAll("\0", "")).subarray(0, storedAnswerBytes).toString();
  return cut.replace(/\uFFFD+$/, "");
}
