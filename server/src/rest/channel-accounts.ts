import { Type } from "typebox";
import { freeForm } from "../../../contract/src/free-form.ts";
import {
  accountStatuses,
  type ChannelAccountHealth,
  type ChannelAccounts,
  type ChannelAccountView,
  type ConnectedAccount,
  settableStatuses,
  settingsSchema,
  subscribeWebhook,
  verifyAccount,
} from "../channel-accounts/channel-accounts.ts";
import type { ConnectorIo } from "../connectors/connector.ts";
import { channels, connectors } from "../connectors/registry.ts";
import { notFound } from "../errors.ts";
import { decodeCursor, pageOf, pageQuery, toPage } from "../http/pages.ts";
import type { App } from "../http/server.ts";
import type { Db } from "../lib/query.ts";
import { bearer, errorAnswers, idParams, line, nothing, nullable, time, uuid } from "./identity-schemas.ts";

export interface ChannelAccountRoutesDeps {
  accounts: ChannelAccounts;
  io: ConnectorIo;
  /** How the platforms reach the hub, without a slash at the end; read with each request. */
  publicUrl: string;
  healthOf: (db: Db, channelAccountId: string) => ChannelAccountHealth | Promise<ChannelAccountHealth>;
}

/** How long making an account waits for the platform to take the webhook, in milliseconds. */
const subscribeTimeoutMs = 5_000;

/** The platform may send the events of this number or bot to another account, whose they are until this one is verified. */
const notTold = { ok: false, detail: "Not set, since the credentials were not verified: POST …/verify sets it." };

/** `/v1/channel-accounts`: the numbers and bots of the workspace. Agents see them, admins connect them. */
export function channelAccountRoutes(app: App, deps: ChannelAccountRoutesDeps): void {
  const { accounts } = deps;
  const show = (account: ChannelAccountView) => showAccount(account, deps.publicUrl);

  app.post(
    "/v1/channel-accounts",
    {
      config: { access: { role: "admin", scope: "channel-accounts:write" }, idempotent: true, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Connect a number or a bot",
        description:
          "The credentials are stored encrypted and never shown again. The platform is told where to call; `webhook` says " +
          "whether that worked. If not, the account exists all the same: `POST …/verify` tries again. Credentials that the " +
          "platform refuses are answered 422, and nothing is stored. With `verify: false` the platform is neither asked nor told.",
        body: Type.Object(
          {
            channel: Type.String({ enum: [...channels] }),
            name: line(200),
            credentials,
            settings,
            verify,
          },
          { additionalProperties: false },
        ),
        response: {
          201: Type.Object({ ...accountResource.properties, webhook: saidSchema }),
          ...errorAnswers(400, 401, 403, 409, 422),
        },
      },
    },
    async ({ principal, db, body: { verify = true, ...body } }, reply) => {
      const io = { ...deps.io, timeoutMs: Math.min(deps.io.timeoutMs, subscribeTimeoutMs) };
      const made = show(await accounts.create(db, principal, body, verify ? io : undefined));
      const webhook = verify
        ? await subscribeWebhook(await connected(accounts, made.channel_account_id), made.webhook_url, io)
        : notTold;
      return reply.status(201).send({ ...made, webhook });
    },
  );

  app.get(
    "/v1/channel-accounts",
    {
      config: { access: { role: "agent", scope: "channel-accounts:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "List channel accounts",
        querystring: Type.Object(
          { ...pageQuery.properties, channel: Type.Optional(Type.String({ enum: [...channels] })) },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(accountResource), ...errorAnswers(400, 401, 403) },
      },
    },
    async ({ principal, db, query: { limit = 50, cursor, channel } }) => {
      const found = await accounts.list(db, principal.workspaceId, { limit, channel, after: decodeCursor(cursor) });
      return toPage(found, limit, show, (account) => ({ at: account.createdAt, id: account.channelAccountId }));
    },
  );

  app.get(
    "/v1/channel-accounts/:id",
    {
      config: { access: { role: "agent", scope: "channel-accounts:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "Get a channel account",
        params: idParams,
        response: { 200: accountResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) => show(await accounts.find(db, keyOf(principal, params))),
  );

  app.patch(
    "/v1/channel-accounts/:id",
    {
      config: { access: { role: "admin", scope: "channel-accounts:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Change a channel account",
        description:
          "`settings` are replaced as a whole; credentials that are left out stay. Credentials must be of the same number or bot. A change of " +
          "`settings.base_url`, also by leaving it out, needs all credentials again, since they are sent there; 409 when it was " +
          "changed at the same moment. A disabled " +
          "account neither sends nor receives. The platform is asked about new credentials, and about the stored ones before " +
          "an account that needs attention or is disabled is made active: if it refuses them, the answer is 422 and nothing changes. " +
          "New credentials make an account active that needed attention, and the waiting messages are sent.",
        params: idParams,
        body: Type.Object(
          {
            name: Type.Optional(line(200)),
            status: Type.Optional(Type.String({ enum: [...settableStatuses] })),
            credentials: Type.Optional(credentials),
            settings,
            verify,
          },
          { additionalProperties: false, minProperties: 1 },
        ),
        response: { 200: accountResource, ...errorAnswers(400, 401, 403, 404, 409, 422) },
      },
    },
    async ({ principal, db, params, body: { verify = true, ...body } }) => {
      const patch = { ...body, status: settableStatuses.find((known) => known === body.status) };
      return show(await accounts.change(db, principal, keyOf(principal, params), patch, verify ? deps.io : undefined));
    },
  );

  app.delete(
    "/v1/channel-accounts/:id",
    {
      config: { access: { role: "admin", scope: "channel-accounts:write" } },
      schema: {
        tags,
        security: bearer,
        summary: "Disconnect a channel account",
        description: "Its credentials are erased. What still waits to be sent over it fails with CHANNEL_ACCOUNT_GONE.",
        params: idParams,
        response: { 204: nothing, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }, reply) => {
      await accounts.remove(db, principal, keyOf(principal, params));
      return reply.status(204).send(null);
    },
  );

  app.post(
    "/v1/channel-accounts/:id/verify",
    {
      config: { access: { role: "admin", scope: "channel-accounts:write" }, shows: "all" },
      schema: {
        tags,
        security: bearer,
        summary: "Ask the platform whether the credentials work",
        description:
          "If they do, the platform is told where to call, and an account that needed attention is active again. If the platform " +
          "refuses the token, the account needs attention. Safe to repeat.",
        params: idParams,
        response: {
          200: Type.Object({ ...saidSchema.properties, webhook: saidSchema }),
          ...errorAnswers(400, 401, 403, 404),
        },
      },
    },
    async ({ principal, db, params }) => {
      const key = keyOf(principal, params);
      const { webhook_url } = show(await accounts.find(db, key));
      const account = await connected(accounts, key.channelAccountId);
      const said = await verifyAccount(account, webhook_url, deps.io);
      const { ok, isTokenRefused, detail } = said;
      if (ok) await accounts.repaired(db, principal, key);
      else if (isTokenRefused) await accounts.needsAttention(account, { reason: "CREDENTIALS_INVALID", detail });
      return said;
    },
  );

  app.get(
    "/v1/channel-accounts/:id/health",
    {
      config: { access: { role: "agent", scope: "channel-accounts:read" } },
      schema: {
        tags,
        security: bearer,
        summary: "See how sending over a channel account goes",
        params: idParams,
        response: { 200: healthResource, ...errorAnswers(400, 401, 403, 404) },
      },
    },
    async ({ principal, db, params }) => {
      const { channelAccountId } = await accounts.find(db, keyOf(principal, params));
      return deps.healthOf(db, channelAccountId);
    },
  );
}

const tags = ["Channel accounts"];

const credentials = freeForm(
  { maxBytes: 16 * 1024, maxValues: 20, maxDepth: 1 },
  `By channel: ${connectors
    .map((connector) => `${connector.channel} {${Object.keys(connector.credentials.properties).join(", ")}}`)
    .join(" · ")}`,
);

const settings = Type.Optional(settingsSchema);

const verify = Type.Optional(
  Type.Boolean({
    default: true,
    description: "False: store the credentials without asking the platform, and leave its webhook as it is",
  }),
);

const status = Type.String({
  enum: [...accountStatuses],
  description:
    "needs_attention: the platform refuses the account. It receives, and messages to be sent over it wait until the " +
    "account is repaired: with new credentials, or with `POST …/verify` once the platform takes the old ones again.",
});

const saidSchema = Type.Object({
  ok: Type.Boolean(),
  detail: Type.String({ description: "What the platform said" }),
});

const accountResource = Type.Object({
  channel_account_id: uuid,
  channel: Type.String(),
  name: Type.String(),
  status,
  attention: nullable(
    Type.Object({
      reason: Type.String({ description: "CREDENTIALS_INVALID or ACCOUNT_RESTRICTED" }),
      detail: Type.String({ description: "What the platform said" }),
      since: time,
    }),
  ),
  webhook_url: Type.String({ description: "Where the platform must call" }),
  settings: settingsSchema,
  external_id: Type.String({ description: "The platform's name of the account: the id of the number or the bot" }),
  created_at: time,
});

const healthResource = Type.Object({
  status,
  breaker: Type.String({ enum: ["closed", "open", "half_open"] }),
  last_error: nullable(Type.Object({ detail: Type.String(), at: time })),
  rate_per_second: Type.Number(),
  in_flight: Type.Integer(),
  parked_lanes: Type.Integer(),
  pending: Type.Integer(),
});

function showAccount(account: ChannelAccountView, publicUrl: string) {
  const { channelAccountId, channel, name, status, attention, statusSince, settings, externalId } = account;
  return {
    channel_account_id: channelAccountId,
    channel,
    name,
    status,
    attention: attention && { ...attention, since: statusSince.toISOString() },
    webhook_url: `${publicUrl}/webhooks/${channel}/${channelAccountId}`,
    settings,
    external_id: externalId,
    created_at: account.createdAt.toISOString(),
  };
}

function keyOf({ workspaceId }: { workspaceId: string }, { id }: { id: string }) {
  return { workspaceId, channelAccountId: id.toLowerCase() };
}

/** With credentials; RESOURCE_NOT_FOUND when it was deleted meanwhile. */
async function connected(accounts: ChannelAccounts, channelAccountId: string): Promise<ConnectedAccount> {
  const account = await accounts.get(channelAccountId);
  if (account === null) throw notFound("channel account");
  return account;
}
