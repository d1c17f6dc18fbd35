/** The entrance of this folder: text from documents, and facts about files, read in a process of its own. */
import type { FileHandle } from "node:fs/promises";
import { extname } from "node:path";
import type { Clock } from "../lib/clock.ts";
import { maxTextBytes } from "./bounds.ts";
import { mayBeDocument } from "./kinds.ts";
import {
  type DocumentProgress,
  type ProcessMessage,
  parseMessage,
  type ReadResult,
  type TextMark,
} from "./process-message.ts";
import { readLimited } from "./read-limited.ts";

export { DocumentError, type DocumentErrorCode, documentErrorCodes } from "./document-error.ts";
export { describeFile, type FileFacts, hasFacts } from "./facts/facts.ts";
export type { DocumentProgress, TextMark } from "./process-message.ts";

export interface ExtractOptions {
  /** As declared; empty if unknown. */
  contentType: string;
  filename: string;
  clock: Clock;
  /** At most, and by default, `maxExtractMs`, in milliseconds. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** At most ten times a second. */
  onProgress?(progress: DocumentProgress): void;
}

export interface ExtractedText {
  /** Well-formed, with `\n` between lines and no other control characters than tabs. At most 16 MiB as UTF-8. */
  text: string;
  /** Where pages, sheets or slides start, in order; empty for kinds of document that have none. */
  marks: TextMark[];
  /** An ISO 639-1 code, or null when it cannot be said. */
  language: string | null;
  words: number;
  /** How many pages, sheets or slides there are; null for kinds of document that have none. */
  pages: number | null;
  /** From the metadata, else the first heading, else null. At most 200 characters. */
  title: string | null;
}

export const maxExtractMs = 5 * 60_000;

/** Whether a file that has this type and name may be a document that is read. What it is, its bytes say. */
export function canRead(contentType: string, filename: string): boolean {
  return mayBeDocument(contentType, extname(filename));
}

/**
 * The text of a file, open or at a path: PDF, DOCX, XLSX, PPTX, ODT, ODS, ODP, HTML, EML, Markdown, plain text (also CSV and JSON) in any
 * encoding, and PNG, JPEG and WebP images of text in English or Portuguese. A document without text has an empty one.
 *
 * Throws a `DocumentError`, or the reason of `signal`. The file is read in a process that may do nothing else, with
 * 512 MiB of memory and the lowest priority: a hostile document harms nothing but its own extraction.
 */
export async function extractText(document: FileHandle | string, options: ExtractOptions): Promise<ExtractedText> {
  let result: ReadResult | undefined;
  const timeMs = Math.min(options.timeoutMs ?? maxExtractMs, maxExtractMs);
  const text = await readLimited<Exclude<ProcessMessage, { failure: unknown }>>({
    entry: new URL("./extract-process.ts", import.meta.url),
    file: document,
    args: [options.contentType, extname(options.filename)],
    limits: { timeMs, cpuMs: timeMs, silentCpuMs, outputBytes: maxTextBytes },
    clock: options.clock,
    signal: options.signal,
    parse: parseMessage,
    onMessage(message) {
      if ("progress" in message) options.onProgress?.(message.progress);
      else result = message.result;
    },
  });
  if (result === undefined) throw new Error("The process that read a document ended without a result.");
  return { text, ...result, pages: result.marks.length || null };
}

/** An honest page takes less, and OCR reports its progress within a page. */
const silentCpuMs = 8_000;
