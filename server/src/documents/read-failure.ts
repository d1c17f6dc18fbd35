import { DocumentError } from "./document-error.ts";
import type { ReadFailure } from "./process-message.ts";

/** What a library throws while it reads is about the document. */
export function failureOf(error: unknown): ReadFailure {
  const trace = traceOf(error instanceof DocumentError ? error.cause : error);
  if (error instanceof DocumentError) return { code: error.code, message: error.message, trace };
  if (error instanceof Error && noMemory.test(error.message)) {
    return { code: "DOCUMENT_TOO_LARGE", message: "The document takes too much memory to read.", trace };
  }
  return { code: "DOCUMENT_CORRUPT", message: "The document cannot be read.", trace };
}

/** Of JavaScript and WebAssembly; `memory access out of bounds` is a fault of another kind. */
const noMemory = /allocat|out of memory|grow|OOM|invalid (string|array|typed array) length/i;

const maxTraceLength = 5_000;

function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  const frames = error.stack?.split("\n").filter((line) => /^ +at /.test(line)) ?? [];
  return [error.name, ...frames].join("\n").slice(0, maxTraceLength);
}
