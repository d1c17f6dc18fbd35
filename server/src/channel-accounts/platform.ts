import type { Connector, ConnectorIo } from "../connectors/connector.ts";
import { connectorFor } from "../connectors/registry.ts";
import type { ConnectedAccount } from "./channel-account.ts";

/** What the platform said when it was asked something. `detail` is public. */
export interface PlatformAnswer {
  readonly ok: boolean;
  /** The platform refuses the token: nothing can be sent. */
  readonly isTokenRefused?: boolean;
  readonly detail: string;
}

/** Asks the platform whether the credentials work, and if so tells it where to call. Safe to repeat. */
export async function verifyAccount(
  account: ConnectedAccount,
  webhookUrl: string,
  io: ConnectorIo,
): Promise<PlatformAnswer & { webhook: PlatformAnswer }> {
  const said = await connectorOf(account).check(account, io);
  if (!said.ok) return { ...said, webhook: { ok: false, detail: "Not set, since the credentials do not work." } };
  return { ...said, webhook: await subscribeWebhook(account, webhookUrl, io) };
}

/** Tells the platform where to call, where it can be told. Safe to repeat. */
export async function subscribeWebhook(
  account: ConnectedAccount,
  webhookUrl: string,
  io: ConnectorIo,
): Promise<PlatformAnswer> {
  const connector = connectorOf(account);
  if (connector.subscribe !== undefined) return connector.subscribe(account, webhookUrl, io);
  return { ok: false, detail: `Set the webhook on the platform's own site, to ${webhookUrl}.` };
}

function connectorOf({ channel }: ConnectedAccount): Connector {
  const connector = connectorFor(channel);
  if (connector === undefined) throw new Error(`no connector for the channel ${channel}`);
  return connector;
}
