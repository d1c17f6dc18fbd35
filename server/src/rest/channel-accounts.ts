import { channelAccounts } from "../../../contract/src/channel-accounts.ts";
import {
  type ChannelAccountHealth,
  type ChannelAccounts,
  type ChannelAccountView,
  type ConnectedAccount,
  subscribeWebhook,
  verifyAccount,
} from "../channel-accounts/channel-accounts.ts";
import type { ConnectorIo } from "../connectors/connector.ts";
import { notFound } from "../errors.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";

export interface ChannelAccountRoutesDeps {
  accounts: ChannelAccounts;
  io: ConnectorIo;
  /** How the platforms reach the hub, without a slash at the end; read with each request. */
  publicUrl: string;
  healthOf: (db: Db, channelAccountId: ChannelAccountId) => ChannelAccountHealth | Promise<ChannelAccountHealth>;
}

/** How long creating an account waits for the platform to set its webhook, in milliseconds. */
const subscribeTimeoutMs = 5_000;

/** Until this account is verified, the platform may send the events of the number or bot to another account. */
const notSet = { ok: false, detail: "Not set, since the credentials were not verified: POST …/verify sets it." };

/** `/v1/channel-accounts`: the numbers and bots of the workspace. */
export function channelAccountRoutes(app: App, deps: ChannelAccountRoutesDeps): void {
  const { accounts } = deps;
  const show = (account: ChannelAccountView) => showAccount(account, deps.publicUrl);

  route(app, channelAccounts.createChannelAccount, async ({ principal, db, body: { verify = true, ...body } }) => {
    const io = { ...deps.io, timeoutMs: Math.min(deps.io.timeoutMs, subscribeTimeoutMs) };
    const made = show(await accounts.create(db, principal, body, verify ? io : undefined));
    const webhook = verify
      ? await subscribeWebhook(await connected(accounts, made.channel_account_id), made.webhook_url, io)
      : notSet;
    return { ...made, webhook };
  });

  route(app, channelAccounts.listChannelAccounts, async ({ principal, db, query: { limit = 50, cursor, channel } }) => {
    const found = await accounts.list(db, principal.workspaceId, { limit, channel, after: decodeCursor(cursor) });
    return toPage(found, limit, show, (account) => ({ at: account.createdAt, id: account.channelAccountId }));
  });

  route(app, channelAccounts.getChannelAccount, async ({ principal, db, params }) =>
    show(await accounts.find(db, keyOf(principal, params))),
  );

  route(
    app,
    channelAccounts.updateChannelAccount,
    async ({ principal, db, params, body: { verify = true, ...body } }) =>
      show(await accounts.change(db, principal, keyOf(principal, params), body, verify ? deps.io : undefined)),
  );

  route(app, channelAccounts.deleteChannelAccount, ({ principal, db, params }) =>
    accounts.remove(db, principal, keyOf(principal, params)),
  );

  route(app, channelAccounts.verifyChannelAccount, async ({ principal, db, params }) => {
    const key = keyOf(principal, params);
    const { webhook_url } = show(await accounts.find(db, key));
    const account = await connected(accounts, key.channelAccountId);
    const said = await verifyAccount(account, webhook_url, deps.io);
    const { ok, isTokenRefused, detail } = said;
    if (ok) await accounts.repaired(db, principal, key);
    else if (isTokenRefused) await accounts.needsAttention(account, { reason: "CREDENTIALS_INVALID", detail });
    return said;
  });

  route(app, channelAccounts.getChannelAccountHealth, async ({ principal, db, params }) => {
    const { channelAccountId } = await accounts.find(db, keyOf(principal, params));
    return deps.healthOf(db, channelAccountId);
  });
}

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

function keyOf({ workspaceId }: { workspaceId: string }, { id }: { id: ChannelAccountId }) {
  return { workspaceId, channelAccountId: id };
}

/** With credentials. Throws RESOURCE_NOT_FOUND when it was deleted meanwhile. */
async function connected(accounts: ChannelAccounts, channelAccountId: ChannelAccountId): Promise<ConnectedAccount> {
  const account = await accounts.get(channelAccountId);
  if (account === null) throw notFound("channel account");
  return account;
}
