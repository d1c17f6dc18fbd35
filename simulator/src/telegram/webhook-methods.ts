import { type Answer, json } from "../calls.ts";
import type { BotCall } from "./bot-api.ts";
import { badRequest } from "./bot-error.ts";
import { endPoll } from "./updates.ts";
import { changeWebhook, defaultMaxConnections } from "./webhook.ts";

/** Ports that the real platform sends webhooks to. Source: Telegram Bot API, getting updates. */
const webhookPorts = ["", "443", "80", "88", "8443"];

/** `setWebhook`. An empty URL removes the webhook. */
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

/** `deleteWebhook`: updates wait to be fetched from now on. */
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
  const failure = sender.lastFailure();
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
