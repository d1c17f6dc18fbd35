import type { FetchedLink } from "../media/links.ts";
import { mediaOf, type ReceivedMessage, type StoredMessage } from "../messages.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import type { WhatsAppAccount } from "./account.ts";
import { keepMedia, maxMediaBytes, sizeProblem, typeProblem } from "./media.ts";
import { planReceipts, type ReceiptPlan, receiptEvents } from "./receipts.ts";
import type { WhatsAppState } from "./state.ts";
import { type Failure, failures, type Sent } from "./webhook.ts";

const fetchTimeoutMs = 60_000;

/** Above the timeout of the fetch: it reports the failure of a fetch that the process did not survive. */
const reportTimeoutMs = 75_000;

/** The receipts of a message by link until the fetch is over: a failure, should it never be. */
export function planLinkTimeout(at: number): ReceiptPlan {
  const details = "Downloading media from weblink failed: timeout";
  return { statuses: ["failed"], delay_ms: reportTimeoutMs, at, failure: { ...failures.media, details } };
}

interface LinkMessage {
  message: ReceivedMessage;
  stored: StoredMessage;
  sent: Sent;
  /** The events of `planLinkTimeout`. */
  timeout: WebhookEvent[];
  link: string;
}

/**
 * Fetches the media of a message that was accepted, shows it in the message, and sends the receipts. The platform does
 * not follow redirects (observed). Never rejects.
 */
export async function settleLink(state: WhatsAppState, accepted: LinkMessage): Promise<void> {
  const { world } = state;
  const { message, stored, sent, timeout, link } = accepted;
  const rules = { maxBytes: maxMediaBytes, timeoutMs: fetchTimeoutMs, followsRedirects: false };
  const fetched = await world.links.fetch(link, rules);
  if (world.links.isClosed) return;
  const uploads = fetched.kind === "fetched" ? [fetched.upload] : [];
  const account = world.accounts.find("whatsapp", stored.account) as WhatsAppAccount;
  const isForgotten = !world.messages.has(stored) || timeout.some((event) => !world.webhooks.isPending(event));
  if (isForgotten) return world.media.discard(uploads);

  const failure = failureOf(message.kind, fetched);
  const media =
    fetched.kind === "fetched" && !failure
      ? keepMedia(state, account, fetched.upload, {
          kind: message.kind,
          mime_type: fetched.mimeType,
          filename: message.media?.filename ?? null,
          isInbound: false,
        })
      : undefined;
  world.media.discard(uploads);
  const plan = planReceipts(world.settings.of("whatsapp"), message.kind, world.now(), failure);
  const promised = account.webhookUrl === undefined ? 0 : plan.statuses.length;
  const firstNumber = world.webhooks.reserve(promised);
  const json = JSON.stringify({ ...message, media: mediaOf(media, message.text, message.media?.filename) });
  const settled = { ...stored, json };
  world.journal.message(settled, firstNumber, promised > 0 ? plan : null);
  world.messages.replace(settled);
  world.webhooks.finish(timeout);
  if (promised === 0) return;
  for (const event of receiptEvents(account.id, message.to, sent, plan, firstNumber)) world.webhooks.promise(event);
}

function failureOf(kind: string, fetched: FetchedLink): Failure | undefined {
  const details = problemOf(kind, fetched);
  return details === undefined ? undefined : { ...failures.media, details };
}

function problemOf(kind: string, fetched: FetchedLink): string | undefined {
  const what = "Downloading media from weblink failed";
  switch (fetched.kind) {
    case "refused":
      return `${what} with http code ${fetched.status}, status message ${fetched.statusText}`;
    case "failed":
      return `${what}: ${fetched.reason}`;
    case "fetched": {
      const { mimeType, upload } = fetched;
      return typeProblem(kind, mimeType) ?? sizeProblem(upload, kind === "document" ? "" : mimeType);
    }
  }
}
