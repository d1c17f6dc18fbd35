import { createHash } from "node:crypto";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ObjectStoreError, tooLarge } from "./object-store.ts";

export interface HashedFileOptions {
  /** Ended, or destroyed after an error. */
  file: Writable;
  source: Readable | AsyncIterable<Buffer>;
  maxBytes: number;
  /** Default: 0. Fewer bytes are the error `incomplete`. */
  leastBytes?: number;
  /** Whether the digest, of 32 bytes, follows in the file. */
  withTrailer?: boolean;
  signal?: AbortSignal;
}

/** At most this much of a file waits in memory for the disk, in bytes. */
export const waitingBytes = 512 * 1024;

/** Writes a file while it computes the SHA-256, with backpressure. Throws `too_large` and `incomplete`. */
export async function writeHashedFile(options: HashedFileOptions): Promise<{ bytes: number; sha256: Buffer }> {
  const { file, source, maxBytes, leastBytes = 0, withTrailer = false, signal } = options;
  const hash = createHash("sha256");
  let bytes = 0;
  let sha256 = Buffer.alloc(0);
  async function* hashed(chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(maxBytes);
      hash.update(chunk);
      yield chunk;
    }
    if (bytes < leastBytes) {
      throw new ObjectStoreError("incomplete", `There are ${bytes} bytes instead of ${leastBytes}.`);
    }
    sha256 = hash.digest();
    if (withTrailer) yield sha256;
  }
  await pipeline(source, hashed, file, { signal });
  return { bytes, sha256 };
}
