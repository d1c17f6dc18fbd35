import fs from "node:fs";
import path from "node:path";

/** Bytes read or written at once. */
const CHUNK_BYTES = 1 << 20;
/** The file contains message text. */
const privateMode = 0o600;
const privateFolderMode = 0o700;

/** A file of text lines that is only ever appended to, or replaced as a whole. Survives `kill -9`, not a power cut. */
export class LineFile {
  readonly #path: string;
  #fd: number;
  #sizeBytes: number;

  /** Opens or creates the file and its folder. */
  constructor(filePath: string) {
    this.#path = filePath;
    fs.mkdirSync(path.dirname(path.resolve(filePath)), { recursive: true, mode: privateFolderMode });
    this.#fd = fs.openSync(filePath, "a+", privateMode);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Writes before it returns: afterwards the operating system has it. */
  append(text: string): void {
    this.#sizeBytes += writeAll(this.#fd, Buffer.from(text));
  }

  /** Every whole line, without its newline. A last line without one was cut off by a kill and is left out. */
  *lines(): Generator<string> {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest: Buffer = Buffer.alloc(0);
    let position = 0;
    for (;;) {
      const count = fs.readSync(this.#fd, chunk, 0, CHUNK_BYTES, position);
      if (count === 0) return;
      position += count;
      const block = Buffer.concat([rest, chunk.subarray(0, count)]);
      let start = 0;
      for (let end = block.indexOf(10); end >= 0; end = block.indexOf(10, start)) {
        if (end > start) yield block.toString("utf8", start, end);
        start = end + 1;
      }
      rest = block.subarray(start);
    }
  }

  /** Puts these lines (each with its newline) in place of everything, by a new file renamed over the old one. */
  replace(lines: Iterable<string>): void {
    const next = `${this.#path}.new`;
    const fd = fs.openSync(next, "w", privateMode);
    let buffered: string[] = [];
    let bufferedLength = 0;
    for (const line of lines) {
      buffered.push(line);
      bufferedLength += line.length;
      if (bufferedLength < CHUNK_BYTES) continue;
      writeAll(fd, Buffer.from(buffered.join("")));
      buffered = [];
      bufferedLength = 0;
    }
    writeAll(fd, Buffer.from(buffered.join("")));
    fs.closeSync(fd);
    fs.renameSync(next, this.#path);
    fs.closeSync(this.#fd);
    this.#fd = fs.openSync(this.#path, "a+", privateMode);
    this.#sizeBytes = fs.fstatSync(this.#fd).size;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

function writeAll(fd: number, bytes: Buffer): number {
  for (let written = 0; written < bytes.length; ) written += fs.writeSync(fd, bytes, written);
  return bytes.length;
}
