import { platformWebhooks } from "../../../contract/src/platform-webhooks.ts";
import type { ChannelAccount, Connector } from "../connectors/connector.ts";
import { notFound, RequestError } from "../errors.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { WebhookStore } from "../inbound/inbound.ts";
import { BatcherFull } from "../lib/batcher.ts";
import { type ChannelAccountId, isUuid } from "../lib/ids.ts";

type Account = ChannelAccount & { workspaceId: string; status: string };

export interface WebhookRouteDeps {
  store: WebhookStore;
  connectorFor: (channel: string) => Connector | undefined;
  /** From memory; undefined when it is not cached. */
  peekAccount: (channelAccountId: ChannelAccountId) => Account | undefined;
  findAccount: (channelAccountId: ChannelAccountId) => Promise<Account | null>;
}

/** Largest webhook, in bytes; the largest that a platform documents is WhatsApp's 3 MB. */
const maxWebhookBytes = 4 * 1024 * 1024;
/** Headers that are stored for the parsers of channels; signatures and secrets are not. */
const keptHeaders = ["content-type", "user-agent"] as const;

/** `/webhooks/{channel}/{channel_account_id}`: verifies and stores what platforms send; it is parsed later. */
export function webhookRoutes(app: App, deps: WebhookRouteDeps): void {
  async function find(channel: string, id: string): Promise<{ account: Account; connector: Connector }> {
    const accountId = id as ChannelAccountId;
    const account = isUuid(id) ? (deps.peekAccount(accountId) ?? (await deps.findAccount(accountId))) : null;
    const connector = deps.connectorFor(channel);
    if (account === null || account.channel !== channel || connector === undefined) throw notFound("channel account");
    return { account, connector };
  }

  route(app, platformWebhooks.confirmPlatformWebhook, async (request) => {
    const { account, connector } = await find(request.params.channel, request.params.id);
    const query = request.query as Record<string, string | undefined>;
    const answer = connector.handshake?.(query, account.credentials) ?? null;
    if (answer === null)
      throw new RequestError("FORBIDDEN", "The verify token does not belong to this channel account.");
    return answer;
  });

  app.register(async (scope) => {
    // The signature is over the exact bytes.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
      done(null, body);
    });
    route(
      scope,
      platformWebhooks.receivePlatformWebhook,
      async (request) => {
        const { account, connector } = await find(request.params.channel, request.params.id);
        const rawBody = (request.body as Buffer | undefined) ?? Buffer.alloc(0);
        const headers = request.headers as Record<string, string | undefined>;
        if (!connector.verify({ headers, rawBody }, account.credentials)) {
          throw new RequestError("AUTH_INVALID", "The signature or secret of this webhook is wrong.");
        }
        if (account.status === "disabled") {
          const message = "This channel account is disabled; send the webhook again once the account is enabled.";
          throw new RequestError("CHANNEL_UNAVAILABLE", message, { retryAfterSeconds: 60 });
        }
        const kept = Object.fromEntries(keptHeaders.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])));
        const { workspaceId, channelAccountId } = account;
        await deps.store.keep({ workspaceId, channelAccountId, headers: kept, rawBody }).catch(refuse);
        return {};
      },
      { bodyLimit: maxWebhookBytes },
    );
  });
}

function refuse(error: unknown): never {
  if (!(error instanceof BatcherFull)) throw error;
  throw new RequestError("OVERLOADED", "Too many webhooks are waiting to be stored: send this one again later.", {
    retryAfterSeconds: 2,
    cause: error,
  });
}
