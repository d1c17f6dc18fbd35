import type { Channel, Connector, ConnectorIo } from "../connectors/connector.ts";
import { connectorFor } from "../connectors/registry.ts";
import type { ConnectedAccount } from "./channel-account.ts";

interface PlatformAnswer {
  readonly ok: boolean;
  readonly isTokenRefused?: boolean;
  readonly detail: string;
}

/** Checks the credentials with the platform and, if they work, sets its webhook URL. Safe to repeat. */
export async function verifyAccount(
  account: ConnectedAccount,
  webhookUrl: string,
  io: ConnectorIo,
): Promise<PlatformAnswer & { webhook: PlatformAnswer }> {
  const answer = await requireConnector(account.channel).check(account, io);
  if (!answer.ok) return { ...answer, webhook: { ok: false, detail: "Not set, because the credentials do not work." } };
  return { ...answer, webhook: await subscribeWebhook(account, webhookUrl, io) };
}

/** Sets the webhook URL at the platform, if it has a request for that. Safe to repeat. */
export async function subscribeWebhook(
  account: ConnectedAccount,
  webhookUrl: string,
  io: ConnectorIo,
): Promise<PlatformAnswer> {
  const connector = requireConnector(account.channel);
  if (connector.subscribe !== undefined) return connector.subscribe(account, webhookUrl, io);
  return { ok: false, detail: `Set the webhook on the platform's own site, to ${webhookUrl}.` };
}

export function requireConnector(channel: Channel): Connector {
  const connector = connectorFor(channel);
  if (connector === undefined) throw new Error(`no connector for the channel ${channel}`);
  return connector;
}
