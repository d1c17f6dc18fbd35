import { type Entry, fromFdPromise, type ZipFile } from "yauzl";
import { maxEntries, maxInflatedBytes } from "./bounds.ts";
import { DocumentError } from "./document-error.ts";

/** A ZIP file whose directory was checked. It reads entries of OOXML and OpenDocument; archives in it are not opened. */
export class Archive {
  readonly #file: ZipFile;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #onChunk: () => void;
  #inflatedBytes = 0;

  private constructor(file: ZipFile, entries: ReadonlyMap<string, Entry>, onChunk: () => void) {
    this.#file = file;
    this.#entries = entries;
    this.#onChunk = onChunk;
  }

  /**
   * Reads the directory, and inflates nothing. Throws DOCUMENT_TOO_LARGE for a bomb, and DOCUMENT_CORRUPT. `onChunk` is
   * called for each piece that is read later.
   */
  static async open(fd: number, onChunk: () => void): Promise<Archive> {
    const entries = new Map<string, Entry>();
    try {
      const file = await fromFdPromise(fd, { autoClose: false });
      if (file.entryCount > maxEntries) throw tooLarge(`The document has more than ${maxEntries} parts.`);
      for await (const entry of file.eachEntry()) entries.set(entry.fileName, entry);
      if (entries.size !== file.entryCount) throw corrupt("Two parts of the document have the same name.");
      checkSizes([...entries.values()], file.fileSize);
      return new Archive(file, entries, onChunk);
    } catch (error) {
      throw error instanceof DocumentError ? error : corrupt("The document is damaged or incomplete.", error);
    }
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** The text of an entry, in pieces. Throws DOCUMENT_TOO_LARGE when all that was read exceeds `maxInflatedBytes`. */
  async *read(name: string): AsyncGenerator<string> {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw corrupt("A part of the document is missing.");
    if (entry.isEncrypted()) throw new DocumentError("DOCUMENT_ENCRYPTED", "The document is protected by a password.");
    let decoder: TextDecoder | undefined;
    try {
      for await (const chunk of await this.#file.openReadStreamPromise(entry)) {
        this.#inflatedBytes += chunk.length;
        if (this.#inflatedBytes > maxInflatedBytes) throw inflatesTooMuch();
        this.#onChunk();
        decoder ??= new TextDecoder(isUtf16(chunk) ? "utf-16le" : "utf-8");
        yield decoder.decode(chunk, { stream: true });
      }
    } catch (error) {
      throw error instanceof DocumentError ? error : corrupt("A part of the document is damaged.", error);
    }
    yield decoder?.decode() ?? "";
  }
}

/** An honest document of this size, inflated, is never compressed more than `maxRatio` times. */
const maxRatio = 200;
const ratioCountsFromBytes = 64 * 1024 * 1024;
/** Before the name of an entry. */
const localHeaderBytes = 30;

function checkSizes(entries: readonly Entry[], fileBytes: number): void {
  const inflatedBytes = entries.reduce((sum, { uncompressedSize }) => sum + uncompressedSize, 0);
  if (inflatedBytes > ratioCountsFromBytes && inflatedBytes > fileBytes * maxRatio) throw inflatesTooMuch();
  let end = 0;
  for (const entry of entries.toSorted((a, b) => a.relativeOffsetOfLocalHeader - b.relativeOffsetOfLocalHeader)) {
    if (entry.relativeOffsetOfLocalHeader < end) throw corrupt("Parts of the document overlap.");
    end = entry.relativeOffsetOfLocalHeader + localHeaderBytes + entry.fileNameLength + entry.compressedSize;
  }
}

function isUtf16(chunk: Buffer): boolean {
  return chunk[0] === 0xff && chunk[1] === 0xfe;
}

function inflatesTooMuch(): DocumentError {
  return tooLarge("The document inflates to more than can be read.");
}

function tooLarge(message: string): DocumentError {
  return new DocumentError("DOCUMENT_TOO_LARGE", message);
}

function corrupt(message: string, cause?: unknown): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", message, { cause });
}
