import type { ConnectorIo, SendOutcome } from "../connectors/connector.ts";
import { connectorFor } from "../connectors/registry.ts";
import { RequestError } from "../errors.ts";
import { newId } from "../lib/ids.ts";
import type { Db } from "../lib/query.ts";
import type { MessagePayload } from "../messages/payload.ts";
import type { ChannelAccounts } from "./channel-accounts.ts";

/** Most accounts of a workspace that are searched for one of the channel. */
const maxAccounts = 200;

export interface CodeToSend {
  workspaceId: string;
  channel: string;
  identifier: string;
  code: string;
  /** Hours since the person's last message; null: there was none. */
  heardHoursAgo: number | null;
}

/**
 * Sends a one-time code to an address, directly and not as a message, so that readers of messages do not see it.
 * NO_ROUTE, with what to do, when the platform does not take it; CHANNEL_UNAVAILABLE when it cannot be reached now.
 */
export async function sendCode(
  { accounts, io }: { accounts: ChannelAccounts; io: ConnectorIo },
  db: Db,
  { workspaceId, channel, identifier, code, heardHoursAgo }: CodeToSend,
): Promise<void> {
  const found = await accounts.list(db, workspaceId, { limit: maxAccounts, channel });
  const id = found.findLast(({ status }) => status === "active")?.channelAccountId;
  const account = id === undefined ? null : await accounts.get(id);
  const connector = connectorFor(channel);
  if (account === null || connector === undefined) {
    throw new RequestError("NO_ROUTE", `No active ${channel} account is connected: ask an admin to add the address.`);
  }
  const { windowHours } = connector.capabilities;
  const isFree = windowHours === null || (heardHoursAgo !== null && heardHoursAgo < windowHours);
  const template = account.settings.verification_template;
  if (!isFree && template === undefined) {
    throw new RequestError(
      "NO_ROUTE",
      `${channel} takes no free text from the hub until this person writes to it. Write to the hub from this address first, ` +
        "or ask an admin to set verification_template in the settings of the channel account.",
    );
  }
  const payload: MessagePayload =
    isFree || template === undefined
      ? {
          type: "text",
          text: `${code} is your code. It works for 10 minutes. If you did not request it, ignore this message.`,
        }
      : { type: "template", ...template, parameters: [code] };
  const part = {
    deliveryId: newId(io.clock.now()),
    partIndex: 0,
    identifier,
    payload,
    quotedProviderMessageId: null,
    targetProviderMessageId: null,
  };
  requireSent(channel, await connector.send(part, account, io));
}

/** Throws for a refusal. An attempt without an answer may have arrived, so it counts as sent. */
function requireSent(channel: string, outcome: SendOutcome): void {
  if (outcome.kind === "refused" || outcome.kind === "account_refused") {
    throw new RequestError("NO_ROUTE", `${channel} did not take the code (${outcome.reason}): ${outcome.detail}`);
  }
  if (outcome.kind === "retry") {
    const retryAfterSeconds = Math.ceil((outcome.afterMs ?? 5_000) / 1_000);
    throw new RequestError("CHANNEL_UNAVAILABLE", `${channel} cannot be reached now: try again.`, {
      retryAfterSeconds,
    });
  }
}
