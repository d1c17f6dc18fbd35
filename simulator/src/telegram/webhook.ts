import type { WebhookRules } from "../webhooks/event.ts";
import { type TelegramAccount, type TelegramFields, toAccount } from "./account.ts";
import type { TelegramState } from "./state.ts";

/** POSTs under way at once unless `setWebhook` says otherwise. Source: Telegram Bot API, getting updates. */
export const defaultMaxConnections = 40;

const hourMs = 3_600_000;

/** One update a POST, a chat's one after another. Source: Telegram Bot API, getting updates. */
export const webhookRules: WebhookRules = {
  order: "queues",
  inFlight: (account) => (account as TelegramAccount).fields.max_connections ?? defaultMaxConnections,
  accepts: (status) => status >= 200 && status < 300,
  retryDelayMs(failures, random) {
    if (failures === 1) return 0;
    const ceilingMs = 60_000 + random.next() * 60_000;
    return Math.min(ceilingMs, 1000 * 2 ** Math.min(failures - 1, 20));
  },
  maxRetryAfterMs: hourMs,
  expiresMs: 24 * hourMs,
  request(account, events) {
    const { secret_token } = (account as TelegramAccount).fields;
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (secret_token !== undefined) headers["x-telegram-bot-api-secret-token"] = secret_token;
    return { body: Buffer.from(JSON.stringify(events[0]?.body)), headers };
  },
};

/** Kinds of updates that a bot gets only when it asks for them. Source: Telegram Bot API, getting updates. */
const onlyWhenAsked = ["chat_member", "message_reaction", "message_reaction_count"];

export function wantsUpdate({ fields }: TelegramAccount, kind: string): boolean {
  const asked = fields.allowed_updates ?? [];
  return asked.length === 0 ? !onlyWhenAsked.includes(kind) : asked.includes(kind);
}

/** Changes the bot's webhook settings for good: they survive a restart. `undefined` removes a field. */
export function changeWebhook(
  { world }: TelegramState,
  account: TelegramAccount,
  changes: { [K in keyof TelegramFields]?: TelegramFields[K] | undefined },
): void {
  const fields = Object.entries({ ...account.fields, ...changes }).filter(([, value]) => value !== undefined);
  const changed = toAccount(Object.fromEntries(fields) as unknown as TelegramFields);
  if (JSON.stringify(changed.fields) === JSON.stringify(account.fields)) return;
  world.accounts.put(changed);
  world.journal.account(changed.fields);
  if (changed.webhookUrl !== account.webhookUrl) world.webhooks.retarget(changed);
}
