/** The door of channel accounts: the numbers, pages and bots that are connected. */
import { type Actor, recordAuditEvent, systemOf } from "../audit/audit.ts";
import type { Channel, ChannelAccount, Connector, ConnectorIo } from "../connectors/connector.ts";
import { channels, connectorFor } from "../connectors/registry.ts";
import { invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { newId } from "../lib/ids.ts";
import { type Pool, transaction } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { openAccountCache } from "./account-cache.ts";
import * as rows from "./account-rows.ts";
import type { AccountAttention, ChannelAccountView, ConnectedAccount } from "./channel-account.ts";
import { requireCredentials } from "./credentials.ts";
import { type BaseUrlRules, requireSettings } from "./settings.ts";

export {
  type AccountAttention,
  type ChannelAccountHealth,
  type ChannelAccountStatus,
  type ChannelAccountView,
  type ConnectedAccount,
  countedWaitMs,
  isConnected,
} from "./channel-account.ts";
export { type PlatformAnswer, subscribeWebhook, verifyAccount } from "./platform.ts";
export { type CodeRoute, type CodeToSend, openCodeSender } from "./send-code.ts";

export interface ChannelAccountsDeps extends Partial<BaseUrlRules> {
  /** For what the pipeline asks; what requests read and write names its own. */
  db: Pool;
  secretBox: SecretBox;
  clock: Clock;
}

export interface NewChannelAccount {
  channel: Channel;
  name: string;
  credentials: unknown;
  settings?: ChannelAccountView["settings"] | undefined;
}

/** `settings` are replaced as a whole; fields that are left out stay. */
export interface ChannelAccountPatch {
  name?: string | undefined;
  status?: Exclude<ConnectedAccount["status"], "needs_attention"> | undefined;
  credentials?: unknown;
  settings?: ChannelAccountView["settings"] | undefined;
}

export type ChannelAccounts = ReturnType<typeof openChannelAccounts>;

export function openChannelAccounts({ db, secretBox, clock, ...rest }: ChannelAccountsDeps) {
  const rules: BaseUrlRules = { allowPrivate: rest.allowPrivate ?? false, allowedOrigins: rest.allowedOrigins ?? [] };
  const cache = openAccountCache({
    clock,
    load: async (channelAccountId) => {
      const sealed = await rows.findSealedAccount(db, channelAccountId);
      return sealed === null ? null : unseal({ secretBox, clock }, sealed);
    },
    findChanged: (known) => rows.findChanged(db, known),
  });

  async function storedCredentials({ channelAccountId }: rows.AccountKey): Promise<object> {
    const sealed = await rows.findSealedAccount(db, channelAccountId);
    return sealed === null ? refuseUnknown() : (unseal({ secretBox, clock }, sealed).credentials as object);
  }

  return {
    /**
     * VALIDATION_ERROR that names the field; CONFLICT when the workspace has this number or bot already. With `io` the
     * platform checks the credentials first: CHANNEL_CREDENTIALS_INVALID when it refuses them, and nothing is stored.
     */
    async create(db: Pool, by: Actor, input: NewChannelAccount, io?: ConnectorIo): Promise<ChannelAccountView> {
      const connector = connectorFor(input.channel);
      if (connector === undefined) {
        throw invalid(`channel must be one of: ${channels.join(", ")}.`, { field: "channel" });
      }
      requireCredentials(connector, input.credentials);
      const channelAccountId = newId(clock.now());
      const row = {
        channelAccountId,
        workspaceId: by.workspaceId,
        channel: input.channel,
        name: input.name,
        status: "active" as const,
        externalId: connector.externalId(input.credentials),
        settings: requireSettings(input.settings ?? {}, rules),
        createdAt: new Date(clock.now()),
        credentialsSealed: seal(secretBox, channelAccountId, input.credentials),
      };
      if (io !== undefined) await requireWorking(connector, { ...row, credentials: input.credentials }, io);
      return transaction(db, async (tx) => {
        const made = await rows.insertAccount(tx, row);
        if (made === null) throw connectedAlready(input.channel);
        const act = { action: "channel_account.created", details: { channel: input.channel } };
        await recordAuditEvent(tx, by, { ...act, target: targetOf(channelAccountId) });
        return made;
      });
    },

    /** Newest first; one more than `limit`, when there are more. */
    list: (db: Db, workspaceId: string, page: Parameters<typeof rows.listAccounts>[2]) =>
      rows.listAccounts(db, workspaceId, page),

    /** RESOURCE_NOT_FOUND when absent, deleted or of another workspace. */
    async find(db: Db, key: rows.AccountKey): Promise<ChannelAccountView> {
      return (await rows.findAccount(db, key)) ?? refuseUnknown();
    },

    /**
     * New credentials must be of the same number or bot, because its lanes and receipts depend on that. They make an
     * account active that needs attention. Stored credentials are sent nowhere else: a change of `base_url` needs all
     * of them again. With `io` the platform first checks new credentials, and the stored ones before an account that
     * is not active becomes so: CHANNEL_CREDENTIALS_INVALID when it refuses them, and nothing is changed. CONFLICT when
     * `base_url` was changed meanwhile.
     */
    async change(
      db: Pool,
      by: Actor,
      key: rows.AccountKey,
      patch: ChannelAccountPatch,
      io?: ConnectorIo,
    ): Promise<ChannelAccountView> {
      const known = (await rows.findAccount(db, key)) ?? refuseUnknown();
      const { channel, externalId, settings: before } = known;
      const { settings, ...plain } = { ...patch, credentials: undefined };
      const isTurned = settings !== undefined && settings.base_url !== before.base_url;
      if (isTurned && patch.credentials === undefined && by.kind !== "system") {
        const message = "settings.base_url decides where the credentials are sent: send all credentials again with it.";
        throw invalid(message, { field: "credentials" });
      }
      // Credentials that are left out stay, unless they would be sent elsewhere.
      const stored = isTurned || patch.credentials === undefined ? {} : await storedCredentials(key);
      const credentials = patch.credentials && { ...stored, ...(patch.credentials as object) };
      if (credentials !== undefined) requireSameAccount(channel, externalId, credentials);
      const row = {
        ...plain,
        isRepaired: credentials !== undefined,
        settings: settings && requireSettings(settings, rules),
        credentialsSealed: credentials === undefined ? undefined : seal(secretBox, key.channelAccountId, credentials),
      };
      const isRevived = patch.status === "active" && known.status !== "active";
      if (io !== undefined && (credentials !== undefined || isRevived)) {
        const asked = {
          ...known,
          settings: row.settings ?? before,
          credentials: credentials ?? (await storedCredentials(key)),
        };
        await requireWorking(requireConnector(channel), asked, io);
      }
      const changed = await transaction(db, async (tx) => {
        const held = (await rows.lockAccount(tx, key)) ?? refuseUnknown();
        // The credentials that were checked and kept belong to the address that was there before.
        if (held.settings.base_url !== before.base_url) throw changedMeanwhile();
        const updated = (await rows.updateAccount(tx, key, row)) ?? refuseUnknown();
        await recordChange(tx, by, key.channelAccountId, patch);
        return updated;
      });
      cache.forget(key.channelAccountId);
      return changed;
    },

    /**
     * Records that the platform refuses the account as it was at this version: nothing is sent over it until it is
     * repaired. Returns whether that is new. Safe to call twice or late: an account that was changed meanwhile is left
     * alone.
     */
    async needsAttention(
      account: Pick<ConnectedAccount, "workspaceId" | "channelAccountId" | "version">,
      { reason, detail }: AccountAttention,
    ): Promise<boolean> {
      const { workspaceId, channelAccountId } = account;
      const isNew = await transaction(db, async (tx) => {
        if (!(await rows.markNeedsAttention(tx, account, { reason, detail }))) return false;
        const act = { action: "channel_account.refused", target: targetOf(channelAccountId), details: { reason } };
        await recordAuditEvent(tx, systemOf(workspaceId), act);
        return true;
      });
      cache.forget(channelAccountId);
      return isNew;
    },

    /** Records that the platform accepts its credentials: an account that needed attention becomes active. */
    async repaired(db: Pool, by: Actor, key: rows.AccountKey): Promise<void> {
      const { status } = (await rows.findAccount(db, key)) ?? refuseUnknown();
      if (status !== "needs_attention") return;
      await transaction(db, async (tx) => {
        if ((await rows.updateAccount(tx, key, { isRepaired: true })) === null) refuseUnknown();
        await recordChange(tx, by, key.channelAccountId, { status: "active" });
      });
      cache.forget(key.channelAccountId);
    },

    /** The number of accounts that need attention, in all workspaces. */
    countNeedingAttention: () => rows.countNeedingAttention(db),

    /** Its credentials are gone for good; what was sent over it stays. */
    async remove(db: Pool, by: Actor, key: rows.AccountKey): Promise<void> {
      await transaction(db, async (tx) => {
        if (!(await rows.markDeleted(tx, key, new Date(clock.now())))) refuseUnknown();
        await recordAuditEvent(tx, by, { action: "channel_account.deleted", target: targetOf(key.channelAccountId) });
      });
      cache.forget(key.channelAccountId);
    },

    /**
     * With credentials, for the pipeline: null when absent or deleted. From memory in general; a change made elsewhere
     * is seen within `recheckMs`, one made here at once.
     */
    get: (channelAccountId: string): Promise<ConnectedAccount | null> => cache.get(channelAccountId),

    /** As `get`, at once and from memory only: undefined says nothing, ask `get`. */
    peek: (channelAccountId: string): ConnectedAccount | undefined => cache.peek(channelAccountId),
  };
}

/** New credentials are an act of their own. */
async function recordChange(tx: Db, by: Actor, channelAccountId: string, patch: ChannelAccountPatch): Promise<void> {
  const target = targetOf(channelAccountId);
  const fields = (["name", "settings", "status"] as const).filter((field) => patch[field] !== undefined);
  const details = { fields: fields.join(","), ...(patch.status === undefined ? {} : { status: patch.status }) };
  if (fields.length > 0) await recordAuditEvent(tx, by, { action: "channel_account.changed", target, details });
  if (patch.credentials === undefined) return;
  await recordAuditEvent(tx, by, { action: "channel_account.credentials_changed", target });
}

function targetOf(channelAccountId: string) {
  return { type: "channel_account", id: channelAccountId };
}

function seal(secretBox: SecretBox, channelAccountId: string, credentials: unknown): Buffer {
  return secretBox.seal(JSON.stringify(credentials), contextOf(channelAccountId));
}

function unseal(
  { secretBox, clock }: Pick<ChannelAccountsDeps, "secretBox" | "clock">,
  sealed: rows.SealedAccount,
): ConnectedAccount {
  const { channelAccountId, workspaceId, channel, name, status, settings, version } = sealed;
  const credentials: unknown = JSON.parse(secretBox.open(sealed.credentialsSealed, contextOf(channelAccountId)));
  const plain = { channelAccountId, workspaceId, channel, name, status, settings, version };
  return { ...plain, statusFromMs: clock.elapsed() - sealed.statusAgeMs, credentials };
}

/** An envelope copied to another row does not open there. */
function contextOf(channelAccountId: string): string {
  return `channel_accounts/${channelAccountId}`;
}

/** What `reseal` must know. */
export const sealedCredentials: SealedColumn = {
  table: "channel_accounts",
  column: "credentials_sealed",
  key: ["channel_account_id"],
  contextOf,
};

function requireSameAccount(channel: Channel, externalId: string, credentials: unknown): void {
  const connector = requireConnector(channel);
  requireCredentials(connector, credentials);
  if (connector.externalId(credentials) === externalId) return;
  throw invalid(
    `These credentials are not those of ${externalId}: connect the other as a channel account of its own.`,
    {
      field: "credentials",
    },
  );
}

function requireConnector(channel: Channel): Connector {
  const connector = connectorFor(channel);
  if (connector === undefined) throw new Error(`no connector for the channel ${channel}`);
  return connector;
}

async function requireWorking(connector: Connector, account: ChannelAccount, io: ConnectorIo): Promise<void> {
  const { isRefused = false, detail } = await connector.check(account, io);
  if (!isRefused) return;
  const message = `${/[.!?]$/.test(detail) ? detail : `${detail}.`} Correct the credentials, or send verify: false to store them unchecked.`;
  throw new RequestError("CHANNEL_CREDENTIALS_INVALID", message, { details: { field: "credentials" } });
}

function connectedAlready(channel: Channel): RequestError {
  return new RequestError("CONFLICT", `This ${channel} account is connected in this workspace already.`);
}

function changedMeanwhile(): RequestError {
  return new RequestError("CONFLICT", "settings.base_url was changed meanwhile: read the account, and try again.");
}

function refuseUnknown(): never {
  throw notFound("channel account");
}
