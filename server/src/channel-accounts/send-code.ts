import type { MessagePayload } from "../../../contract/src/payloads.ts";
import type { ChannelAccount, ConnectorIo, SendOutcome } from "../connectors/connector.ts";
import { connectorFor } from "../connectors/registry.ts";
import { RequestError } from "../errors.ts";
import { type ChannelAccountId, newId } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import type { ChannelAccountView, ConnectedAccount } from "./channel-account.ts";

const maxAccounts = 200;
/** The next request gets 503. */
const maxUnderWay = 100;

export interface CodeToSend {
  identifier: string;
  code: string;
  lastMessageHoursAgo: number | null;
}

export interface CodeRoute {
  channel: string;
  help: string;
  /** Sends directly, not as a message, and returns at once: the time does not reveal whether the person exists. */
  send(code: CodeToSend): void;
}

interface CodeSenderDeps {
  accounts: {
    list(db: Db, workspaceId: string, filter: { limit: number; channel: string }): Promise<ChannelAccountView[]>;
    get(channelAccountId: ChannelAccountId): Promise<ConnectedAccount | null>;
    needsAttention(account: ConnectedAccount, refusal: SendOutcome & { kind: "account_refused" }): Promise<unknown>;
  };
  io: ConnectorIo;
  log: Log;
}

/** Finds routes: NO_ROUTE without an active account of the channel, OVERLOADED when too many codes are being sent. */
export function openCodeSender(deps: CodeSenderDeps) {
  const { accounts, io, log } = deps;
  let underWay = 0;

  return async function findRoute(db: Db, workspaceId: string, channel: string): Promise<CodeRoute> {
    if (underWay >= maxUnderWay) {
      throw new RequestError("OVERLOADED", "Too many codes are being sent: try again in a moment.", {
        retryAfterSeconds: 2,
      });
    }
    const found = await accounts.list(db, workspaceId, { limit: maxAccounts, channel });
    const id = found.findLast(({ status }) => status === "active")?.channelAccountId;
    const account = id === undefined ? null : await accounts.get(id);
    if (account === null) {
      throw new RequestError("NO_ROUTE", `No active ${channel} account is connected: ask an admin to add the address.`);
    }
    return {
      channel,
      help:
        `If no code arrives, write to the hub on ${channel} from this address and try again: a platform may let the hub ` +
        "write only to people who have written to it. Or ask an admin to add the address.",
      send(code) {
        underWay += 1;
        void trySend(io, account, channel, code)
          .then(async (outcome) => {
            const reason = typeof outcome === "string" ? outcome : refusalOf(outcome);
            if (reason !== null) log.info({ account: id, channel, reason }, "a one-time code was not sent");
            if (typeof outcome !== "string" && outcome.kind === "account_refused")
              await accounts.needsAttention(account, outcome);
          })
          .catch((err) => log.warn({ err, account: id, channel }, "sending a one-time code failed"))
          .finally(() => {
            underWay -= 1;
          });
      },
    };
  };
}

async function trySend(
  io: ConnectorIo,
  account: ChannelAccount,
  channel: string,
  { identifier, code, lastMessageHoursAgo }: CodeToSend,
): Promise<SendOutcome | string> {
  const connector = connectorFor(channel)!;
  const { windowHours } = connector.capabilities;
  const isFree = windowHours === null || (lastMessageHoursAgo !== null && lastMessageHoursAgo < windowHours);
  const template = account.settings.verification_template;
  if (!isFree && template === undefined) return "WINDOW_CLOSED, and the account has no verification_template";
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
  return connector.send(part, account, io);
}

function refusalOf(outcome: SendOutcome): string | null {
  if (outcome.kind === "refused" || outcome.kind === "account_refused") return outcome.reason;
  return outcome.kind === "retry" ? "cannot be reached now" : null;
}
