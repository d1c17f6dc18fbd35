/** Channel accounts: the connected numbers, pages and bots. */

import { type Actor, recordAuditEvent, systemOf } from "../audit/audit.ts";
import type { Channel, ChannelAccount, Connector, ConnectorIo } from "../connectors/connector.ts";
import { channels, connectorFor } from "../connectors/registry.ts";
import type { PipelineDb, RequestDb } from "../database-roles.ts";
import { invalid, notFound, RequestError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import { type ChannelAccountId, newId } from "../lib/ids.ts";
import { transaction } from "../lib/postgres.ts";
import type { Db } from "../lib/query.ts";
import type { SealedColumn } from "../lib/reseal.ts";
import type { SecretBox } from "../lib/secret-box.ts";
import { type AccountCache, openAccountCache } from "./account-cache.ts";
import { type BaseUrlRules, requireCredentials, requireSettings } from "./account-input.ts";
import * as rows from "./account-rows.ts";
import type { AccountAttention, ChannelAccountView, ConnectedAccount } from "./channel-account.ts";
import { requireConnector } from "./platform.ts";

export {
  type ChannelAccountHealth,
  type ChannelAccountStatus,
  type ChannelAccountView,
  type ConnectedAccount,
  countedWaitMs,
  isConnected,
} from "./channel-account.ts";
export { subscribeWebhook, verifyAccount } from "./platform.ts";
export { type CodeRoute, type CodeToSend, openCodeSender } from "./send-code.ts";

interface ChannelAccountsDeps extends Partial<BaseUrlRules> {
  /** For `get` and `needsAttention`, which the pipeline calls. Requests pass their own. */
  db: PipelineDb;
  secretBox: SecretBox;
  clock: Clock;
}

interface NewChannelAccount {
  channel: Channel;
  name: string;
  credentials: unknown;
  settings?: ChannelAccountView["settings"] | undefined;
}

/** `settings` replaces all settings. Fields that are left out do not change. */
interface ChannelAccountPatch {
  name?: string | undefined;
  status?: Exclude<ConnectedAccount["status"], "needs_attention"> | undefined;
  credentials?: unknown;
  settings?: ChannelAccountView["settings"] | undefined;
}

type RefusedAccount = Pick<ConnectedAccount, "workspaceId" | "channelAccountId" | "version">;

/** All methods that take an id throw RESOURCE_NOT_FOUND for one that is absent, deleted or of another workspace. */
export class ChannelAccounts {
  readonly #db: PipelineDb;
  readonly #secretBox: SecretBox;
  readonly #clock: Clock;
  readonly #rules: BaseUrlRules;
  readonly #cache: AccountCache;
  /** Refusals that are being written, by account and version. */
  readonly #refusing = new Map<string, Promise<boolean>>();

  constructor({ db, secretBox, clock, allowPrivate = false, allowedOrigins = [] }: ChannelAccountsDeps) {
    this.#db = db;
    this.#secretBox = secretBox;
    this.#clock = clock;
    this.#rules = { allowPrivate, allowedOrigins };
    this.#cache = openAccountCache({
      clock,
      load: async (channelAccountId) => {
        const sealed = await rows.findSealedAccount(db, channelAccountId);
        return sealed === null ? null : this.#unseal(sealed);
      },
      findChanged: (known) => rows.findChanged(db, known),
    });
  }

  /** CONFLICT when already connected. With `io` the platform checks first: CHANNEL_CREDENTIALS_INVALID. */
  async create(db: RequestDb, by: Actor, input: NewChannelAccount, io?: ConnectorIo): Promise<ChannelAccountView> {
    const connector = connectorFor(input.channel);
    if (connector === undefined) {
      throw invalid(`channel must be one of: ${channels.join(", ")}.`, { field: "channel" });
    }
    requireCredentials(connector, input.credentials);
    const channelAccountId = newId<ChannelAccountId>(this.#clock.now());
    const row = {
      channelAccountId,
      workspaceId: by.workspaceId,
      channel: input.channel,
      name: input.name,
      status: "active" as const,
      externalId: connector.externalId(input.credentials),
      settings: requireSettings(input.settings ?? {}, this.#rules),
      createdAt: new Date(this.#clock.now()),
      credentialsSealed: this.#seal(channelAccountId, input.credentials),
    };
    if (io !== undefined) await requireWorking(connector, { ...row, credentials: input.credentials }, io);
    return transaction(db, async (tx) => {
      const created = await rows.insertAccount(tx, row);
      if (created === null) {
        throw new RequestError("CONFLICT", `This ${input.channel} account is already connected in this workspace.`);
      }
      await recordAuditEvent(tx, by, {
        action: "channel_account.created",
        target: targetOf(channelAccountId),
        details: { channel: input.channel },
      });
      return created;
    });
  }

  list(db: Db, workspaceId: string, page: Parameters<typeof rows.listAccounts>[2]): Promise<ChannelAccountView[]> {
    return rows.listAccounts(db, workspaceId, page);
  }

  async find(db: Db, key: rows.AccountKey): Promise<ChannelAccountView> {
    return (await rows.findAccount(db, key)) ?? refuseUnknown();
  }

  /**
   * New credentials must be of the same number or bot, because its lanes and receipts depend on that. They make an
   * account active that needs attention. Stored credentials are sent nowhere else: a change of `base_url` needs all
   * credentials again. With `io` the platform first checks new credentials, and the stored ones before an account
   * becomes active: CHANNEL_CREDENTIALS_INVALID when it refuses them, and nothing is changed. CONFLICT when `base_url`
   * was changed concurrently.
   */
  async change(
    db: RequestDb,
    by: Actor,
    key: rows.AccountKey,
    patch: ChannelAccountPatch,
    io?: ConnectorIo,
  ): Promise<ChannelAccountView> {
    const known = await this.find(db, key);
    const { channel, externalId, settings: before } = known;
    const { settings, ...plain } = { ...patch, credentials: undefined };
    const isUrlChanged = settings !== undefined && settings.base_url !== before.base_url;
    if (isUrlChanged && patch.credentials === undefined && by.kind !== "system") {
      const message = "settings.base_url decides where the credentials are sent: send all credentials again with it.";
      throw invalid(message, { field: "credentials" });
    }
    // Stored credentials fill in what is left out, unless they would be sent elsewhere.
    const stored = isUrlChanged || patch.credentials === undefined ? {} : await this.#storedCredentials(key);
    const credentials = patch.credentials && { ...stored, ...(patch.credentials as object) };
    if (credentials !== undefined) requireSameAccount(channel, externalId, credentials);
    const row = {
      ...plain,
      isRepaired: credentials !== undefined,
      settings: settings && requireSettings(settings, this.#rules),
      credentialsSealed: credentials === undefined ? undefined : this.#seal(key.channelAccountId, credentials),
    };
    const becomesActive = patch.status === "active" && known.status !== "active";
    if (io !== undefined && (credentials !== undefined || becomesActive)) {
      const asked = {
        ...known,
        settings: row.settings ?? before,
        credentials: credentials ?? (await this.#storedCredentials(key)),
      };
      await requireWorking(requireConnector(channel), asked, io);
    }
    const changed = await transaction(db, async (tx) => {
      const locked = (await rows.lockAccount(tx, key)) ?? refuseUnknown();
      // The credentials were checked against, and completed for, the URL that was stored before.
      if (locked.settings.base_url !== before.base_url) {
        throw new RequestError("CONFLICT", "settings.base_url was just changed: read the account, and try again.");
      }
      const updated = (await rows.updateAccount(tx, key, row)) ?? refuseUnknown();
      await recordChange(tx, by, key.channelAccountId, patch);
      return updated;
    });
    this.#cache.forget(key.channelAccountId);
    return changed;
  }

  /**
   * Nothing is sent until it is repaired. Safe to call late: only this version changes. Returns whether it did; of
   * concurrent calls, one writes.
   */
  async needsAttention(account: RefusedAccount, attention: AccountAttention): Promise<boolean> {
    const key = `${account.channelAccountId} ${account.version}`;
    const refusing = this.#refusing.get(key);
    if (refusing !== undefined) {
      await refusing;
      return false;
    }
    const writing = this.#markNeedsAttention(account, attention).finally(() => this.#refusing.delete(key));
    this.#refusing.set(key, writing);
    return writing;
  }

  async #markNeedsAttention(account: RefusedAccount, { reason, detail }: AccountAttention): Promise<boolean> {
    const { workspaceId, channelAccountId } = account;
    const isNew = await transaction(this.#db, async (tx) => {
      if (!(await rows.markNeedsAttention(tx, account, { reason, detail }))) return false;
      const target = targetOf(channelAccountId);
      await recordAuditEvent(tx, systemOf(workspaceId), {
        action: "channel_account.refused",
        target,
        details: { reason },
      });
      return true;
    });
    this.#cache.forget(channelAccountId);
    return isNew;
  }

  /** Records that the platform accepts the credentials: an account that needed attention becomes active. */
  async repaired(db: RequestDb, by: Actor, key: rows.AccountKey): Promise<void> {
    const { status } = await this.find(db, key);
    if (status !== "needs_attention") return;
    await transaction(db, async (tx) => {
      if ((await rows.updateAccount(tx, key, { isRepaired: true })) === null) refuseUnknown();
      await recordChange(tx, by, key.channelAccountId, { status: "active" });
    });
    this.#cache.forget(key.channelAccountId);
  }

  countNeedingAttention(): Promise<number> {
    return rows.countNeedingAttention(this.#db);
  }

  async remove(db: RequestDb, by: Actor, key: rows.AccountKey): Promise<void> {
    await transaction(db, async (tx) => {
      if (!(await rows.markDeleted(tx, key, new Date(this.#clock.now())))) refuseUnknown();
      await recordAuditEvent(tx, by, { action: "channel_account.deleted", target: targetOf(key.channelAccountId) });
    });
    this.#cache.forget(key.channelAccountId);
  }

  /** With credentials, for the pipeline. Null when absent. Changes by other processes take up to `recheckMs`. */
  readonly get = (channelAccountId: ChannelAccountId): Promise<ConnectedAccount | null> =>
    this.#cache.get(channelAccountId);

  /** As `get`, synchronously and from memory only. On undefined, call `get`. */
  readonly peek = (channelAccountId: ChannelAccountId): ConnectedAccount | undefined =>
    this.#cache.peek(channelAccountId);

  async #storedCredentials({ channelAccountId }: rows.AccountKey): Promise<object> {
    const sealed = (await rows.findSealedAccount(this.#db, channelAccountId)) ?? refuseUnknown();
    return this.#unseal(sealed).credentials as object;
  }

  #seal(channelAccountId: ChannelAccountId, credentials: unknown): Buffer {
    return this.#secretBox.seal(JSON.stringify(credentials), contextOf(channelAccountId));
  }

  #unseal(sealed: rows.SealedAccount): ConnectedAccount {
    const { channelAccountId, workspaceId, channel, name, status, settings, version } = sealed;
    const json = this.#secretBox.open(sealed.credentialsSealed, contextOf(channelAccountId));
    const plain = { channelAccountId, workspaceId, channel, name, status, settings, version };
    return { ...plain, statusFromMs: this.#clock.elapsed() - sealed.statusAgeMs, credentials: JSON.parse(json) };
  }
}

async function recordChange(
  tx: Db,
  by: Actor,
  channelAccountId: ChannelAccountId,
  patch: ChannelAccountPatch,
): Promise<void> {
  const target = targetOf(channelAccountId);
  const fields = (["name", "settings", "status"] as const).filter((field) => patch[field] !== undefined);
  const details = { fields: fields.join(","), ...(patch.status === undefined ? {} : { status: patch.status }) };
  if (fields.length > 0) await recordAuditEvent(tx, by, { action: "channel_account.changed", target, details });
  if (patch.credentials === undefined) return;
  await recordAuditEvent(tx, by, { action: "channel_account.credentials_changed", target });
}

function targetOf(channelAccountId: ChannelAccountId) {
  return { type: "channel_account", id: channelAccountId };
}

/** Binds the sealed text to its row: copied to another row, it does not open. */
function contextOf(channelAccountId: string): string {
  return `channel_accounts/${channelAccountId}`;
}

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
  const message = `These credentials are not those of ${externalId}: connect the other number or bot as a separate channel account.`;
  throw invalid(message, { field: "credentials" });
}

async function requireWorking(connector: Connector, account: ChannelAccount, io: ConnectorIo): Promise<void> {
  const { isRefused = false, detail } = await connector.check(account, io);
  if (!isRefused) return;
  const message = `${/[.!?]$/.test(detail) ? detail : `${detail}.`} Correct the credentials, or send verify: false to store them unchecked.`;
  throw new RequestError("CHANNEL_CREDENTIALS_INVALID", message, { details: { field: "credentials" } });
}

function refuseUnknown(): never {
  throw notFound("channel account");
}
