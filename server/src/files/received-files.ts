import mimeTypes from "mime-types";
import type { MessagePayload } from "../../../contract/src/payloads.ts";
import type { PlatformFile } from "../connectors/media.ts";
import { type Column, columnValues, rowsOf } from "../lib/columns.ts";
import type { ChannelAccountId } from "../lib/ids.ts";
import { leastPartBytes } from "../lib/object-store/object-store.ts";
import { all, type Db } from "../lib/query.ts";
import { unknownType } from "./file-types.ts";

/** A file in a message of a person. */
export interface ReceivedFile extends PlatformFile {
  /** Derived from the platform's ids: the same webhook twice has the same file. */
  fileId: string;
  workspaceId: string;
  channelAccountId: ChannelAccountId;
  senderId: string;
}

/** What the hub must know to fetch it. */
export interface FileSource {
  channel_account_id: ChannelAccountId;
  reference: string;
  checksum: string | null;
}

export function toFilePayload({ fileId, caption }: ReceivedFile): MessagePayload {
  return { type: "file", file_id: fileId, ...(caption !== "" && { caption }) };
}

const columns: readonly Column<ReceivedFile>[] = [
  ["file_id", "uuid", (file) => file.fileId],
  ["workspace_id", "uuid", (file) => file.workspaceId],
  ["uploaded_by", "uuid", (file) => file.senderId],
  ["filename", "text", nameOf],
  ["bytes", "bigint", () => 0],
  ["content_type", "text", (file) => file.contentType],
  [
    "source",
    "jsonb",
    ({ channelAccountId: channel_account_id, reference, checksum }) =>
      JSON.stringify({ channel_account_id, reference, checksum } satisfies FileSource),
  ],
];

/** Before their messages are accepted. Safe to repeat. Returns the ids of the new ones, which must be fetched. */
export async function addReceivedFiles(tx: Db, files: readonly ReceivedFile[], now: Date): Promise<string[]> {
  const names = columns.map(([name]) => name).join();
  const added = await all<{ file_id: string }>(
    tx,
    `INSERT INTO files (${names}, status, part_bytes, created_at)
     SELECT ${names}, 'receiving', ${leastPartBytes}, $1 FROM ${rowsOf(columns, 2)} ON CONFLICT DO NOTHING RETURNING file_id`,
    [now, ...columnValues(columns, files)],
  );
  return added.map(({ file_id }) => file_id);
}

/** Photos and voice messages come without a name. */
function nameOf({ filename, contentType }: ReceivedFile): string {
  if (filename !== null) return filename;
  const type = contentType ?? unknownType;
  const [kind] = type.split("/");
  const extension = mimeTypes.extension(type) || "bin";
  return `${kind === "application" ? "file" : kind}.${usualExtensions[extension] ?? extension}`;
}

const usualExtensions: Record<string, string> = { jpeg: "jpg", oga: "ogg" };
