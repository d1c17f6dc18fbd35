import type { PoolClient } from "../lib/postgres.ts";
import type { FileRow } from "./file-rows.ts";

export type CompletedFile = Pick<FileRow, "workspace_id" | "file_id" | "content_type" | "bytes">;

/** Tasks that follow from changes of files: the folder `tasks` knows them. */
export interface FileTasks {
  /** In the transaction that completes a file. */
  completed(tx: PoolClient, file: CompletedFile): Promise<void>;
  /** After the commit. */
  due(): void;
}
