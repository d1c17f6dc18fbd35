import { type TelegramAccount, type TelegramFields, toAccount } from "./account.ts";
import type { TelegramState } from "./state.ts";

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
