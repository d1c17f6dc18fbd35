import { createHash } from "node:crypto";
import { writev } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { finished, type Readable } from "node:stream";
import { freeMemory } from "../free-memory.ts";
import { ObjectStoreError, tooLarge } from "./object-store.ts";

export interface HashedFileOptions {
  /** Empty, and open for writing. It stays open. */
  file: FileHandle;
  /** Of bytes. It is not destroyed: after an error, some may be left. */
  source: Readable;
  maxBytes: number;
  /** Default: 0. Fewer bytes are the error `incomplete`. */
  leastBytes?: number;
  /** Whether the digest, of 32 bytes, follows in the file. */
  withTrailer?: boolean;
  /** For chunks that nothing else uses: see `freeMemory`. */
  freesChunks?: boolean;
  signal?: AbortSignal | undefined;
}

/** At most this much of a file waits in memory for the disk, beside what is being written, in bytes. */
const waitingBytes = 128 * 1024;

/**
 * Writes a file while it computes the SHA-256, with backpressure. Throws `too_large` and `incomplete`. It does what
 * `pipeline` would with a file stream and a generator, which take half again as long.
 */
export async function writeHashedFile(options: HashedFileOptions): Promise<{ bytes: number; sha256: Buffer }> {
  const { file, source, maxBytes, leastBytes = 0, withTrailer = false, freesChunks = false, signal } = options;
  const hash = createHash("sha256");
  const writer = new Writer(file.fd, freesChunks);
  let bytes = 0;
  const { promise: received, resolve, reject } = Promise.withResolvers<void>();
  const onData = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes) return reject(tooLarge(maxBytes));
    hash.update(chunk);
    if (!writer.write(chunk)) source.pause();
  };
  writer.onDrain = () => void source.resume();
  writer.onError = reject;
  const stop = finished(source, { writable: false, signal }, (error) => (error ? reject(error) : resolve()));
  source.on("data", onData);
  try {
    await received;
    if (bytes < leastBytes) {
      throw new ObjectStoreError("incomplete", `There are ${bytes} bytes instead of ${leastBytes}.`);
    }
    const sha256 = hash.digest();
    if (withTrailer) writer.write(Buffer.from(sha256));
    return { bytes, sha256 };
  } finally {
    stop();
    source.off("data", onData);
    writer.onDrain = () => {};
    await writer.idle();
  }
}

/** Appends to an empty file: what arrives during one write is written by the next. */
class Writer {
  onDrain = (): void => {};
  onError = (_error: Error): void => {};
  readonly #fd: number;
  readonly #freesChunks: boolean;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #position = 0;
  #isWriting = false;
  #error: Error | null = null;
  #onIdle = (): void => {};

  constructor(fd: number, freesChunks: boolean) {
    this.#fd = fd;
    this.#freesChunks = freesChunks;
  }

  /** False when the caller should wait for `onDrain`. */
  write(chunk: Buffer): boolean {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (!this.#isWriting) this.#next();
    return this.#waitingBytes < waitingBytes;
  }

  /** When all is written. Rejects with the first error. */
  async idle(): Promise<void> {
    if (this.#isWriting) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    if (this.#error !== null) throw this.#error;
  }

  #next(): void {
    const chunks = this.#waiting;
    const isFull = this.#waitingBytes >= waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#isWriting = chunks.length > 0 && this.#error === null;
    if (!this.#isWriting) return void this.#onIdle();
    this.#writeAll(chunks, () => {
      if (this.#freesChunks) for (const chunk of chunks) freeMemory(chunk);
      this.#next();
    });
    if (isFull) this.onDrain();
  }

  /** The system may write less than it was given. */
  #writeAll(chunks: Buffer[], done: () => void): void {
    writev(this.#fd, chunks, this.#position, (error, written) => {
      if (error !== null) {
        this.#error = error;
        this.onError(error);
        return done();
      }
      this.#position += written;
      const left = withoutFirst(chunks, written);
      if (left.length > 0) this.#writeAll(left, done);
      else done();
    });
  }
}

function withoutFirst(chunks: Buffer[], bytes: number): Buffer[] {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const skipped = Math.min(left, chunk.length);
    left -= skipped;
    return skipped === chunk.length ? [] : [chunk.subarray(skipped)];
  });
}
