import { readSync } from "node:fs";
import { maxFileBytes } from "../bounds.ts";
import { DocumentError } from "../document-error.ts";
import type { Source } from "../reader.ts";

export type InputFile = Pick<Source, "fd" | "sizeBytes">;

/** All bytes of the file. Throws DOCUMENT_TOO_LARGE beyond `maxFileBytes`. */
export function readWhole(source: InputFile): Buffer {
  checkFileSize(source);
  const bytes = Buffer.alloc(source.sizeBytes);
  readInto(source, bytes);
  return bytes;
}

export function checkFileSize({ sizeBytes }: InputFile): void {
  if (sizeBytes <= maxFileBytes) return;
  const limit = `${maxFileBytes / 1024 / 1024} MiB`;
  throw new DocumentError("DOCUMENT_TOO_LARGE", `Documents of this type are read up to ${limit}.`);
}

/** Fills the memory with the beginning of the file. */
export function readInto({ fd }: InputFile, memory: Uint8Array): void {
  for (let length = 0; length < memory.length; ) {
    const count = readSync(fd, memory, length, memory.length - length, length);
    if (count === 0) throw new DocumentError("DOCUMENT_CORRUPT", "The file ended while it was read.");
    length += count;
  }
}
