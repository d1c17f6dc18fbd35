import type { Progress } from "./progress.ts";
import type { TextOutput } from "./text-output.ts";

/** What a reader of one kind of document gets. */
export interface Source {
  /** An open file, which the process may read. */
  fd: number;
  sizeBytes: number;
  contentType: string;
  output: TextOutput;
  progress: Progress;
}

/** What a reader finds besides the text and its marks. */
export interface Facts {
  /** Of the metadata, else the first heading. */
  title?: string | undefined;
}
