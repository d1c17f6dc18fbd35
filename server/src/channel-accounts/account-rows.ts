import type { ChannelAccountSettings } from "../connectors/connector.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import type { PageRequest } from "../lib/page-bytes.ts";
import { all, type Db, maybe, one, run } from "../lib/query.ts";
import type { AccountAttention, ChannelAccountStatus, ChannelAccountView } from "./channel-account.ts";

export interface SealedAccount extends ChannelAccountView {
  readonly credentialsSealed: Buffer;
  readonly version: number;
  /** Time since its status changed, by the database's clock. */
  readonly statusAgeMs: number;
}

/** Null when the workspace has the number or bot already. */
export function insertAccount(
  db: Db,
  account: Omit<ChannelAccountView, "statusSince" | "attention"> & { credentialsSealed: Buffer },
): Promise<ChannelAccountView | null> {
  return maybe<ChannelAccountView>(
    db,
    `INSERT INTO channel_accounts
       (channel_account_id, workspace_id, channel, name, status, external_id, credentials_sealed, settings, created_at, status_since)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
     ON CONFLICT (workspace_id, channel, external_id) WHERE deleted_at IS NULL DO NOTHING
     RETURNING ${viewColumns}`,
    [
      account.channelAccountId,
      account.workspaceId,
      account.channel,
      account.name,
      account.status,
      account.externalId,
      account.credentialsSealed,
      account.settings,
      account.createdAt,
    ],
  );
}

export function listAccounts(
  db: Db,
  workspaceId: string,
  page: PageRequest & { channel?: string | undefined },
): Promise<ChannelAccountView[]> {
  return all<ChannelAccountView>(
    db,
    `SELECT ${viewColumns} FROM channel_accounts
     WHERE workspace_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR channel = $2)
       AND ($3::timestamptz IS NULL OR (created_at, channel_account_id) < ($3, $4::uuid))
     ORDER BY created_at DESC, channel_account_id DESC LIMIT $5`,
    [workspaceId, page.channel ?? null, page.after?.at ?? null, page.after?.id ?? null, page.limit + 1],
  );
}

export function findAccount(db: Db, key: AccountKey): Promise<ChannelAccountView | null> {
  return maybe<ChannelAccountView>(db, `SELECT ${viewColumns} FROM channel_accounts WHERE ${livingByKey}`, keyOf(key));
}

export function lockAccount(tx: Db, key: AccountKey): Promise<ChannelAccountView | null> {
  const text = `SELECT ${viewColumns} FROM channel_accounts WHERE ${livingByKey} FOR NO KEY UPDATE`;
  return maybe<ChannelAccountView>(tx, text, keyOf(key));
}

export function findSealedAccount(db: Db, channelAccountId: ChannelAccountId): Promise<SealedAccount | null> {
  return maybe<SealedAccount>(
    db,
    `SELECT ${viewColumns}, credentials_sealed AS "credentialsSealed", version,
       extract(epoch FROM now() - status_since)::float8 * 1000 AS "statusAgeMs" FROM channel_accounts
     WHERE channel_account_id = $1 AND deleted_at IS NULL`,
    [channelAccountId],
  );
}

interface AccountChanges {
  name?: string | undefined;
  status?: ChannelAccountStatus | undefined;
  settings?: ChannelAccountSettings | undefined;
  credentialsSealed?: Buffer | undefined;
  isRepaired?: boolean | undefined;
}

export function updateAccount(db: Db, key: AccountKey, changes: AccountChanges): Promise<ChannelAccountView | null> {
  return maybe<ChannelAccountView>(
    db,
    `UPDATE channel_accounts SET name = coalesce($3, name), status = ${nextStatus},
       status_since = CASE WHEN status = ${nextStatus} THEN status_since ELSE now() END,
       attention = CASE WHEN ${nextStatus} = 'needs_attention' THEN attention END,
       settings = coalesce($5, settings), credentials_sealed = coalesce($6, credentials_sealed), version = version + 1
     WHERE ${livingByKey} RETURNING ${viewColumns}`,
    [
      ...keyOf(key),
      changes.name ?? null,
      changes.status ?? null,
      changes.settings ?? null,
      changes.credentialsSealed ?? null,
      changes.isRepaired ?? false,
    ],
  );
}

const nextStatus = "coalesce($4, CASE WHEN $7 AND status = 'needs_attention' THEN 'active' ELSE status END)";

/** Returns whether it was active and unchanged since that version: a changed account may have been repaired. */
export async function markNeedsAttention(
  db: Db,
  { channelAccountId, version }: { channelAccountId: ChannelAccountId; version: number },
  attention: AccountAttention,
): Promise<boolean> {
  const text = `UPDATE channel_accounts
    SET status = 'needs_attention', status_since = now(), attention = $3, version = version + 1
    WHERE channel_account_id = $1 AND version = $2 AND status = 'active' AND deleted_at IS NULL`;
  return (await run(db, text, [channelAccountId, version, attention])) > 0;
}

export async function countNeedingAttention(db: Db): Promise<number> {
  const text = `SELECT count(*) AS count FROM channel_accounts WHERE status = 'needs_attention' AND deleted_at IS NULL`;
  return (await one<{ count: number }>(db, text, [])).count;
}

/** Keeps the row, for the deliveries that name it, without credentials. Returns whether the account existed. */
export async function markDeleted(db: Db, key: AccountKey, deletedAt: Date): Promise<boolean> {
  const text = `UPDATE channel_accounts SET deleted_at = $3, credentials_sealed = '', version = version + 1
    WHERE ${livingByKey}`;
  return (await run(db, text, [...keyOf(key), deletedAt])) > 0;
}

export async function findChanged(
  db: Db,
  known: readonly { channelAccountId: ChannelAccountId; version: number }[],
): Promise<ChannelAccountId[]> {
  const rows = await all<{ channel_account_id: ChannelAccountId }>(
    db,
    `SELECT k.channel_account_id
     FROM unnest($1::uuid[], $2::integer[]) AS k (channel_account_id, version)
     LEFT JOIN channel_accounts a
       ON a.channel_account_id = k.channel_account_id AND a.version = k.version AND a.deleted_at IS NULL
     WHERE a.channel_account_id IS NULL`,
    [known.map((account) => account.channelAccountId), known.map((account) => account.version)],
  );
  return rows.map((row) => row.channel_account_id);
}

export interface AccountKey {
  workspaceId: string;
  channelAccountId: ChannelAccountId;
}

const livingByKey = "workspace_id = $1 AND channel_account_id = $2 AND deleted_at IS NULL";

function keyOf({ workspaceId, channelAccountId }: AccountKey): [string, string] {
  return [workspaceId, channelAccountId];
}

const viewColumns = `channel_account_id AS "channelAccountId", workspace_id AS "workspaceId", channel, name, status,
  external_id AS "externalId", settings, created_at AS "createdAt", status_since AS "statusSince", attention`;
