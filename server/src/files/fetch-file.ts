import { maxFileBytes } from "../../../contract/src/files.ts";
import type { ChannelAccounts } from "../channel-accounts/channel-accounts.ts";
import type { Connector, ConnectorIo } from "../connectors/connector.ts";
import type { PipelineDb } from "../database-roles.ts";
import { ObjectStoreError } from "../lib/object-store/object-store.ts";
import { transaction } from "../lib/postgres.ts";
import { maybe, run } from "../lib/query.ts";
import { findUsage, keyOf, type Rejection, rejectFile } from "./file-rows.ts";
import { unknownType } from "./file-types.ts";
import { followStored, whenStored } from "./follow-stored.ts";
import type { FileSource } from "./received-files.ts";
import type { FileDeps } from "./upload.ts";

export interface FetchFileDeps
  extends Pick<FileDeps, "store" | "clock" | "allowedTypes" | "quotaBytes" | "tasks" | "isScanned"> {
  db: PipelineDb;
  accounts: Pick<ChannelAccounts, "get">;
  connectorFor: (channel: string) => Connector | undefined;
  io: ConnectorIo;
}

/** `later`: nothing is wrong with the file; `afterMs` is the least wait, null without a wish of the platform. */
export type FetchOutcome = { kind: "ended" } | { kind: "later"; afterMs: number | null; detail: string };

interface ReceivingFile {
  file_id: string;
  workspace_id: string;
  filename: string;
  content_type: string | null;
  source: FileSource;
}

/**
 * Fetches the bytes of a file that a person sent, and checks them. The file ends as `completed`, or waits to be scanned, or is
 * `rejected` with a code. Safe to repeat. Rejects while the database cannot be used, and when `signal` aborts.
 */
export async function fetchFile(deps: FetchFileDeps, fileId: string, signal: AbortSignal): Promise<FetchOutcome> {
  const { db } = deps;
  const file = await maybe<ReceivingFile>(
    db,
    `SELECT file_id, workspace_id, filename, content_type, source FROM files WHERE file_id = $1 AND status = 'receiving'`,
    [fileId],
  );
  if (file === null) return { kind: "ended" };
  const found = await fetchBytes(deps, file, signal);
  if (found.kind === "later") return found;
  if (found.kind === "rejected") await rejectFile(db, fileId, "receiving", found.error);
  else await complete(deps, file, found);
  return { kind: "ended" };
}

type Fetched =
  | { kind: "fetched"; bytes: number; checksum: string; contentType: string }
  | { kind: "rejected"; error: Rejection }
  | (FetchOutcome & { kind: "later" });

async function fetchBytes(deps: FetchFileDeps, file: ReceivingFile, signal: AbortSignal): Promise<Fetched> {
  const { store, allowedTypes } = deps;
  const { channel_account_id, reference, checksum } = file.source;
  const account = await deps.accounts.get(channel_account_id);
  if (account === null) return rejected("FILE_UNAVAILABLE", "The channel account that received it was deleted.");
  const opened = await deps.connectorFor(account.channel)?.openFile?.(reference, account, deps.io, signal);
  if (opened === undefined) return rejected("FILE_UNAVAILABLE", `Files of ${account.channel} cannot be fetched.`);
  if (opened.kind === "gone") return rejected("FILE_UNAVAILABLE", `The platform does not have it: ${opened.detail}`);
  if (opened.kind === "retry") return { ...opened, kind: "later" };
  try {
    const options = { contentType: unknownType, source: opened.body, maxBytes: maxFileBytes, signal };
    const { bytes, sha256 } = await store.write(keyOf(file), options);
    const expected = checksum ?? opened.checksum;
    if (expected !== null && expected !== sha256) {
      return rejected("CHECKSUM_MISMATCH", "The bytes are not those of which the platform gave the SHA-256.");
    }
    const type = await allowedTypes.find({ ...file, bytes }, (range) => store.read(keyOf(file), range));
    if (type.kind === "refused") return rejected("FILE_TYPE_INVALID", type.message);
    return { kind: "fetched", bytes, checksum: sha256, contentType: type.contentType };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ObjectStoreError && error.code === "too_large") {
      return rejected("FILE_TOO_LARGE", `It has more than ${maxFileBytes.toLocaleString("en")} bytes.`);
    }
    // The connection was lost, or the store failed.
    return { kind: "later", afterMs: null, detail: (error as Error).message };
  }
}

function rejected(code: string, message: string): { kind: "rejected"; error: Rejection } {
  return { kind: "rejected", error: { code, message } };
}

async function complete(
  deps: FetchFileDeps,
  file: ReceivingFile,
  { bytes, checksum, contentType }: Extract<Fetched, { kind: "fetched" }>,
): Promise<void> {
  const { db, store, quotaBytes, tasks } = deps;
  const { status, completedAt } = whenStored(deps);
  const isKept = await transaction(db, async (tx) => {
    // Files that are fetched at the same time may exceed it together.
    if (quotaBytes !== null && (await findUsage(tx, { workspaceId: file.workspace_id })) + bytes > quotaBytes) {
      const message = "The files of this workspace would take more than its quota (FILES_QUOTA).";
      await rejectFile(tx, file.file_id, "receiving", { code: "QUOTA_EXCEEDED", message });
      return true;
    }
    const stored = await run(
      tx,
      `UPDATE files SET status = $2, bytes = $3, content_type = $4, checksum = $5, completed_at = $6
       WHERE file_id = $1 AND status = 'receiving'`,
      [file.file_id, status, bytes, contentType, checksum, completedAt],
    );
    if (stored === 0) return false;
    await followStored(deps, tx, { ...file, conversation_id: null, bytes, content_type: contentType });
    return true;
  });
  tasks.due();
  // It was deleted meanwhile, perhaps with what was stored then.
  if (!isKept) await store.remove(keyOf(file));
}
