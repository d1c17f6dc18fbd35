import { type Answer, json } from "../calls.ts";
import type { WebhookEvent } from "../webhooks/event.ts";
import type { TelegramAccount } from "./account.ts";
import type { BotCall } from "./bot-api.ts";
import { BotError, badRequest } from "./bot-error.ts";
import { nextUpdateId, type TelegramState } from "./state.ts";
import { changeWebhook, defaultMaxConnections } from "./webhook.ts";

/** Updates in one response, and the longest poll in seconds. Source: Telegram Bot API, getting updates. */
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

/** Confirms what came before `offset`, and waits up to `timeout` seconds for the first update after it. */
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

function endPoll({ polls }: TelegramState, account: TelegramAccount, reason: string): void {
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

/** Ports that the real platform sends webhooks to. Source: Telegram Bot API, getting updates. */
const webhookPorts = ["", "443", "80", "88", "8443"];

export function setWebhook(call: BotCall): Answer {
  const { account, parameters } = call;
  const url = parameters.text("url")?.trim() ?? "";
  if (url === "") return deleteWebhook(call);
  checkUrl(url);
  const secret = parameters.text("secret_token") || undefined;
  if (secret !== undefined && !/^[A-Za-z0-9_-]{1,256}$/.test(secret)) {
    throw badRequest("secret token contains unallowed characters");
  }
  const allowed = parameters.json("allowed_updates");
  const wasThere =
    account.webhookUrl === url && account.fields.secret_token === secret && !parameters.flag("drop_pending_updates");
  endPoll(call.state, account, "Conflict: terminated by setWebhook request");
  if (parameters.flag("drop_pending_updates")) dropUpdates(call);
  changeWebhook(call.state, account, {
    webhook_url: url,
    secret_token: secret,
    max_connections: Math.min(Math.max(parameters.integer("max_connections") ?? defaultMaxConnections, 1), 100),
    ...(Array.isArray(allowed) ? { allowed_updates: allowed.map(String) } : {}),
  });
  return json(200, { ok: true, result: true, description: wasThere ? "Webhook is already set" : "Webhook was set" });
}

export function deleteWebhook(call: BotCall): Answer {
  const { state, account, parameters } = call;
  const wasThere = account.webhookUrl !== undefined;
  if (parameters.flag("drop_pending_updates")) dropUpdates(call);
  if (wasThere) changeWebhook(state, account, { webhook_url: undefined, secret_token: undefined });
  const description = wasThere ? "Webhook was deleted" : "Webhook is already deleted";
  return json(200, { ok: true, result: true, description });
}

export function getWebhookInfo({ state, account }: BotCall): Answer {
  const { webhook_url, max_connections, allowed_updates } = account.fields;
  const sender = state.world.webhooks.queueSender(account);
  const failure = sender.lastFailure;
  const result = {
    url: webhook_url ?? "",
    has_custom_certificate: false,
    pending_update_count: [...sender.waiting()].length,
    ...(webhook_url === undefined ? {} : { max_connections: max_connections ?? defaultMaxConnections }),
    ...(failure ? { last_error_date: Math.floor(failure.at / 1000), last_error_message: failure.reason } : {}),
    ...(allowed_updates?.length ? { allowed_updates } : {}),
  };
  return json(200, { ok: true, result });
}

/** The real platform demands HTTPS; plain HTTP is taken here for a receiver on the same machine. */
function checkUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url) throw badRequest("bad webhook: invalid webhook URL specified");
  const isLocal = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (isLocal && /^https?:$/.test(url.protocol)) return;
  if (url.protocol !== "https:") throw badRequest("bad webhook: An HTTPS URL must be provided for webhook");
  if (!webhookPorts.includes(url.port)) {
    throw badRequest("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443");
  }
}

function dropUpdates({ state, account }: BotCall): void {
  const { webhooks } = state.world;
  webhooks.finish([...webhooks.pending()].filter((one) => one.channel === "telegram" && one.account === account.id));
}
