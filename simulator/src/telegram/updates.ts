import { type Answer, json } from "../calls.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import type { TelegramAccount } from "./account.ts";
import type { BotCall } from "./bot-api.ts";
import { BotError } from "./bot-error.ts";
import { nextUpdateId, type TelegramState } from "./state.ts";
import { changeWebhook } from "./webhook.ts";

/** Updates in one answer, and the longest poll in seconds. Source: Telegram Bot API, getting updates. */
const maxUpdates = 100;
const maxTimeoutSeconds = 50;

/** Sends the bot an update about a person; `content` is without the id, which is returned. */
export function sendUpdate(
  state: TelegramState,
  account: TelegramAccount,
  chat: number,
  content: Record<string, unknown>,
): number {
  const { world } = state;
  const now = world.now();
  const update_id = nextUpdateId(state, account.id);
  const event: WebhookEvent = {
    number: world.webhooks.reserve(1),
    channel: "telegram",
    account: account.id,
    person: String(chat),
    happenedAt: now,
    dueAt: now,
    body: { update_id, ...content },
  };
  world.journal.webhook(event);
  world.webhooks.promise(event);
  return update_id;
}

/**
 * `getUpdates`: what waits, after confirming what came before `offset`; waits up to `timeout` seconds for the first.
 */
export function getUpdates(call: BotCall): Answer | Promise<Answer> {
  const { state, parameters } = call;
  if (call.account.webhookUrl !== undefined) {
    throw new BotError(
      409,
      "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
    );
  }
  const allowed = parameters.json("allowed_updates");
  if (Array.isArray(allowed)) changeWebhook(state, call.account, { allowed_updates: allowed.map(String) });
  endPoll(
    state,
    call.account,
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
  );
  confirm(call, parameters.integer("offset") ?? 0);

  const limit = Math.min(Math.max(parameters.integer("limit") ?? maxUpdates, 1), maxUpdates);
  const timeoutS = Math.min(Math.max(parameters.integer("timeout") ?? 0, 0), maxTimeoutSeconds);
  const updates = waiting(call).slice(0, limit);
  if (updates.length > 0 || timeoutS === 0) return answer(updates);
  return poll(call, limit, timeoutS * 1000);
}

export function endPoll({ polls }: TelegramState, account: TelegramAccount, reason: string): void {
  polls.get(account.id)?.(reason);
}

function poll(call: BotCall, limit: number, timeoutMs: number): Promise<Answer> {
  const { state, account } = call;
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      forget();
      if (state.polls.get(account.id) === terminate) state.polls.delete(account.id);
    };
    const terminate = (reason: string) => {
      end();
      reject(new BotError(409, reason));
    };
    const finish = () => {
      end();
      resolve(answer(waiting(call).slice(0, limit)));
    };
    const timer = setTimeout(finish, timeoutMs).unref();
    const forget = state.world.webhooks.queueSender(account).onEvent(finish);
    state.polls.set(account.id, terminate);
    call.whenGone(end);
  });
}

/** A positive offset confirms everything before it; a negative one leaves only that many of the newest. */
function confirm(call: BotCall, offset: number): void {
  if (offset === 0) return;
  const all = waiting(call);
  const over =
    offset > 0 ? all.filter((event) => updateId(event) < offset) : all.slice(0, Math.max(0, all.length + offset));
  call.state.world.webhooks.finish(over);
}

function waiting({ state, account }: BotCall): WebhookEvent[] {
  return [...state.world.webhooks.queueSender(account).waiting()];
}

function updateId(event: WebhookEvent): number {
  return (event.body as { update_id: number }).update_id;
}

function answer(events: WebhookEvent[]): Answer {
  return json(200, { ok: true, result: events.map((event) => event.body) });
}
