import type { WebhookRules } from "../webhooks/event.ts";
import type { TelegramAccount } from "./account.ts";

/** POSTs under way at once unless `setWebhook` says otherwise. Source: Telegram Bot API, getting updates. */
export const DEFAULT_MAX_CONNECTIONS = 40;

const HOUR_MS = 3_600_000;

/**
 * How the platform sends its updates: one a POST, a chat's one after another. Source: Telegram Bot API, getting
 * updates.
 */
export const webhookRules: WebhookRules = {
  order: "lanes",
  inFlight: (account) => (account as TelegramAccount).fields.max_connections ?? DEFAULT_MAX_CONNECTIONS,
  accepts: (status) => status >= 200 && status < 300,
  retryDelayMs(failures, random) {
    if (failures === 1) return 0;
    const ceilingMs = 60_000 + random.next() * 60_000;
    return Math.min(ceilingMs, 1000 * 2 ** Math.min(failures - 1, 20));
  },
  maxRetryAfterMs: HOUR_MS,
  expiresMs: 24 * HOUR_MS,
  request(account, events) {
    const { secret_token } = (account as TelegramAccount).fields;
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (secret_token !== undefined) headers["x-telegram-bot-api-secret-token"] = secret_token;
    return { body: Buffer.from(JSON.stringify(events[0]?.body)), headers };
  },
};

/** Kinds of updates that a bot gets only when it asks for them. Source: Telegram Bot API, getting updates. */
const ONLY_WHEN_ASKED = ["chat_member", "message_reaction", "message_reaction_count"];

/** Whether the bot wants updates of this kind. */
export function wantsUpdate({ fields }: TelegramAccount, kind: string): boolean {
  const asked = fields.allowed_updates ?? [];
  return asked.length === 0 ? !ONLY_WHEN_ASKED.includes(kind) : asked.includes(kind);
}
