import type { PoolClient } from "../lib/postgres.ts";
import type { FileRow } from "./file-rows.ts";

export type StoredFile = Pick<FileRow, "workspace_id" | "file_id" | "conversation_id" | "content_type" | "bytes">;

/** Tasks that follow from changes of files: the folder `tasks` knows them. */
export interface FileTasks {
  /** In the transaction after which a file is to be scanned. */
  scan(tx: PoolClient, file: StoredFile): Promise<void>;
  /** In the transaction that completes a file: its facts are to be found. */
  describe(tx: PoolClient, file: StoredFile): Promise<void>;
  /** After the commit. */
  due(): void;
}
