/** The entrance of this folder: text from documents, read in a process of its own. */
import { type FileHandle, open } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../lib/clock.ts";
import { type ProcessEnd, runLimitedProcess } from "../lib/limited-process.ts";
import { maxTextBytes } from "./bounds.ts";
import { DocumentError } from "./document-error.ts";
import { mayBeDocument } from "./kinds.ts";
import {
  type DocumentProgress,
  parseMessage,
  type ReadFailure,
  type ReadResult,
  type TextMark,
} from "./process-message.ts";

export { DocumentError, type DocumentErrorCode, documentErrorCodes } from "./document-error.ts";
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
  let failure: ReadFailure | undefined;
  const timeMs = Math.min(options.timeoutMs ?? maxExtractMs, maxExtractMs);
  await using opened = typeof document === "string" ? await open(document, "r") : null;
  const { fd } = opened ?? (document as FileHandle);
  const ended = await runLimitedProcess({
    entry,
    args: [options.contentType.slice(0, maxArgumentLength), extname(options.filename).slice(0, maxArgumentLength)].map(
      (argument) => argument.replaceAll("\0", ""),
    ),
    inputFd: fd,
    mayRead: code,
    limits: { memoryBytes, timeMs, cpuMs: timeMs, silentCpuMs, outputBytes: maxTextBytes },
    clock: options.clock,
    signal: options.signal,
    onMessage(message) {
      const sent = parseMessage(message);
      if ("progress" in sent) options.onProgress?.(sent.progress);
      else if ("failure" in sent) failure = sent.failure;
      else result = sent.result;
    },
  });
  if (ended.end !== "completed") throw errorOf(ended);
  if (failure !== undefined) throw new DocumentError(failure.code, failure.message, { cause: failure.trace });
  if (result === undefined) throw new Error("The process that read a document ended without a result.");
  return { text: ended.text, ...result, pages: result.marks.length || null };
}

const entry = fileURLToPath(new URL("./extract-process.ts", import.meta.url));
/** The sources of the hub, the packages, and what says that the sources are modules. */
const code = ["../", "../../package.json", "../../node_modules/", "../../../node_modules/"].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);
const maxArgumentLength = 255;
const memoryBytes = 512 * 1024 * 1024;
/** An honest page takes less, and OCR reports its progress within a page. */
const silentCpuMs = 8_000;

function errorOf(ended: Exclude<ProcessEnd, { end: "completed" }>): Error {
  switch (ended.end) {
    case "memory":
      return new DocumentError("DOCUMENT_TOO_LARGE", "The document takes more memory than may be used to read it.");
    case "output":
      return new DocumentError("DOCUMENT_TOO_LARGE", "The document has more text than is read.");
    case "time":
      return new DocumentError("DOCUMENT_TIMEOUT", "The document takes longer than may be used to read it.");
    case "silent":
      return new DocumentError("DOCUMENT_TIMEOUT", "A part of the document takes too long to read.");
    case "crashed":
      return new DocumentError("DOCUMENT_CORRUPT", "The document cannot be read.", {
        cause: new Error(`${ended.signal}: ${ended.complaint}`),
      });
    case "failed":
      return new Error(`The process that reads documents failed: ${ended.complaint}`);
  }
}
