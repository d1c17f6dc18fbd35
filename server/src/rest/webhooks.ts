import { Type } from "typebox";
import type { ChannelAccount, Connector } from "../connectors/connector.ts";
import { notFound, RequestError } from "../errors.ts";
import type { App } from "../http/server.ts";
import { BatcherFull } from "../lib/batcher.ts";
import { isUuid } from "../lib/ids.ts";
import type { WebhookStore } from "../webhooks/webhooks.ts";
import { errorAnswers } from "./identity-schemas.ts";

type Account = ChannelAccount & { workspaceId: string; status: string };

export interface WebhookRouteDeps {
  store: WebhookStore;
  connectorFor: (channel: string) => Connector | undefined;
  /** From memory; undefined says nothing: ask `findAccount`. */
  peekAccount: (channelAccountId: string) => Account | undefined;
  findAccount: (channelAccountId: string) => Promise<Account | null>;
}

/** Largest webhook, in bytes: WhatsApp's own limit of 3 MB, and some air. */
const maxWebhookBytes = 4 * 1024 * 1024;
/** Headers that the parsers of channels may need; signatures and secrets are checked here and not kept. */
const keptHeaders = ["content-type", "user-agent"] as const;

/** `/webhooks/{channel}/{channel_account_id}`: where the platforms call. Verifies, keeps, answers; parsed afterwards. */
export function webhookRoutes(app: App, deps: WebhookRouteDeps): void {
  const path = "/webhooks/:channel/:id";
  const params = Type.Object({ channel: Type.String(), id: Type.String() });
  const tags = ["Webhooks of platforms"];

  async function find(channel: string, id: string): Promise<{ account: Account; connector: Connector }> {
    const account = isUuid(id) ? (deps.peekAccount(id) ?? (await deps.findAccount(id))) : null;
    const connector = deps.connectorFor(channel);
    if (account === null || account.channel !== channel || connector === undefined) throw notFound("channel account");
    return { account, connector };
  }

  app.get(
    path,
    {
      config: { access: "public", limit: "none" },
      schema: {
        tags,
        summary: "The handshake by which a platform checks the address",
        params,
        response: { 200: Type.String(), ...errorAnswers(403, 404) },
      },
    },
    async (request, reply) => {
      const { account, connector } = await find(request.params.channel, request.params.id);
      const query = request.query as Record<string, string | undefined>;
      const answer = connector.handshake?.(query, account.credentials) ?? null;
      if (answer === null) throw new RequestError("FORBIDDEN", "The verify token is not that of this channel account.");
      reply.type("text/plain; charset=utf-8");
      return answer;
    },
  );

  app.register(async (scope) => {
    // The signature is over the exact bytes, so nothing may parse them before.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => {
      done(null, body);
    });
    scope.post<{ Params: { channel: string; id: string }; Body: Buffer | undefined }>(
      path,
      {
        bodyLimit: maxWebhookBytes,
        config: { access: "public", limit: "none" },
        schema: {
          tags,
          summary: "What a platform tells the hub",
          description: "A bad signature: 401, and nothing is stored. A good one: 200 once the event is durable.",
          params,
          response: { 200: Type.Object({}), ...errorAnswers(401, 404, 413, 503) },
        },
      },
      async (request, reply) => {
        const { account, connector } = await find(request.params.channel, request.params.id);
        const rawBody = request.body ?? Buffer.alloc(0);
        const headers = request.headers as Record<string, string | undefined>;
        if (!connector.verify({ headers, rawBody }, account.credentials)) {
          throw new RequestError(
            "AUTH_INVALID",
            "The signature or secret of this webhook is not that of the platform.",
          );
        }
        if (account.status === "disabled") {
          throw new RequestError(
            "CHANNEL_UNAVAILABLE",
            "This channel account is disabled; send it again once it is not.",
            {
              retryAfterSeconds: 60,
            },
          );
        }
        const kept = Object.fromEntries(keptHeaders.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])));
        const { workspaceId, channelAccountId } = account;
        await deps.store.keep({ workspaceId, channelAccountId, headers: kept, rawBody }).catch(refuse);
        reply.status(200);
        return {};
      },
    );
  });
}

function refuse(error: unknown): never {
  if (!(error instanceof BatcherFull)) throw error;
  throw new RequestError("OVERLOADED", "Too many webhooks wait to be stored: send this one again.", {
    retryAfterSeconds: 2,
    cause: error,
  });
}
