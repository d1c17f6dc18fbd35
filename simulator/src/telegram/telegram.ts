import type { Face, OpenFace } from "../face.ts";
import { faultNames } from "../faults.ts";
import { readMessage } from "../messages.ts";
import { invalid } from "../problem.ts";
import { readAccount, type TelegramAccount } from "./account.ts";
import { botMethods, serveBotApi } from "./bot-api.ts";
import { personBlocks, personWrites } from "./inbound.ts";
import { expirePaths } from "./media.ts";
import { openState, restoreCounters, saveCounters, seen, type TelegramState } from "./state.ts";
import { webhookRules } from "./webhook.ts";

/** The Telegram Bot API. It has no receipts for delivered and read messages. */
export const telegram: Face = {
  channel: "telegram",
  methods: botMethods,
  faults: faultNames.filter((name) => name !== "window_closed"),
  settings: { auto_receipts: false, webhook_timeout_ms: 60_000 },
  checkSettings({ auto_receipts }) {
    if (auto_receipts) throw invalid("telegram has no receipts: auto_receipts can only be false");
  },
  readAccount,
  person(text) {
    const id = text.startsWith("telegram:") ? text.slice("telegram:".length) : text;
    return /^[1-9]\d{0,15}$/.test(id) ? id : undefined;
  },
  open(world): OpenFace {
    const state = openState(world);
    return {
      webhooks: webhookRules,
      serve: (app) => serveBotApi(app, state),
      inbound: (account, input) => personWrites(state, account as TelegramAccount, input),
      receipt() {
        throw invalid("telegram has no receipts");
      },
      block: (account, person, blocked) => personBlocks(state, account as TelegramAccount, person, blocked),
      expireUrls: (mediaId) => expirePaths(state, mediaId),
      promised: () => [],
      remember: (thing) => remember(state, thing),
      saveState: () => saveCounters(state),
      restoreState: (saved) => restoreCounters(state, saved),
      reset() {
        state.blocked.clear();
      },
    };
  },
};

function remember(state: TelegramState, thing: Parameters<OpenFace["remember"]>[0]): void {
  if ("message" in thing) {
    const { account, to, provider_message_id } = readMessage(thing.message);
    seen(state.lastMessageId, `${account} ${to}`, Number(provider_message_id));
    return;
  }
  const { account, person, body } = thing.webhook;
  const update = body as { update_id: number; message?: { message_id: number } };
  seen(state.lastUpdateId, account, update.update_id);
  seen(state.lastMessageId, `${account} ${person}`, update.message?.message_id);
}
