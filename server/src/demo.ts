import { randomBytes } from "node:crypto";
import type { TObject } from "typebox";
import { defaultAccounts } from "../../simulator/src/default-accounts.ts";
import { systemOf } from "./audit/audit.ts";
import { subscribeWebhook } from "./channel-accounts/channel-accounts.ts";
import type { Context } from "./context.ts";
import { findFirstWorkspace } from "./users/users.ts";

const ratePerSecond = 10_000;

/**
 * Connects the first workspace with the simulator's accounts, so that you can send a message without any setup. Runs
 * at every start, because ports may have changed. A deleted account is created again only in a workspace without any.
 * Returns the channels on which a message that names no account goes to the simulator.
 */
export async function connectSimulator(context: Context, simulatorUrl: string, hubUrl: string): Promise<string[]> {
  const { identityDb, dbOf, accounts, connectorFor, connectorIo, log } = context;
  const workspaceId = await findFirstWorkspace(identityDb);
  if (workspaceId === null) return [];
  const db = dbOf(workspaceId);
  const by = systemOf(workspaceId);
  const known = await accounts.list(db, workspaceId, { limit: 200 });
  const simulated: string[] = [];
  for (const account of defaultAccounts) {
    const { channel } = account;
    const connector = connectorFor(channel);
    if (connector === undefined) continue;
    const credentials = credentialsOf(account, connector.credentials as TObject);
    const settings = { base_url: `${simulatorUrl}/${channel}`, rate_per_second: ratePerSecond };
    const externalId = connector.externalId(credentials);
    const find = (list: typeof known) => list.find((one) => one.channel === channel && one.externalId === externalId);
    const existing = find(known);
    if (existing === undefined && known.length > 0) continue;
    const createOrFind = async () => {
      try {
        return await accounts.create(db, by, { channel, name: `Simulated ${channel}`, credentials, settings });
      } catch (error) {
        // Another process that is starting has created the account.
        const made = find(await accounts.list(db, workspaceId, { limit: 200 }));
        if (made === undefined) throw error;
        return made;
      }
    };
    const { channelAccountId } = existing ?? (await createOrFind());
    if (existing !== undefined && existing.settings.base_url !== settings.base_url) {
      await accounts.change(
        db,
        by,
        { workspaceId, channelAccountId },
        { settings: { ...existing.settings, ...settings } },
      );
    }
    const connected = await accounts.get(channelAccountId);
    const webhookUrl = `${hubUrl}/webhooks/${channel}/${channelAccountId}`;
    const said = await subscribeWebhook(connected!, webhookUrl, connectorIo);
    if (!said.ok) log.warn({ channel, detail: said.detail }, "the simulator did not accept the webhook URL");
    simulated.push(channelAccountId);
  }
  // The oldest account of a channel sends; the list is newest first.
  const active = (await accounts.list(db, workspaceId, { limit: 200 })).filter(({ status }) => status === "active");
  const senders = new Map(active.map(({ channel, channelAccountId }) => [channel, channelAccountId]));
  return [...senders.keys()].filter((channel) => simulated.includes(senders.get(channel)!));
}

/** The credentials of the simulator's account; secrets that the hub chooses are generated. */
function credentialsOf(account: Record<string, string>, schema: TObject): Record<string, string> {
  const names = Object.keys(schema.properties);
  return Object.fromEntries(names.map((name) => [name, account[name] ?? randomBytes(24).toString("base64url")]));
}
