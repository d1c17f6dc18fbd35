import { createCipheriv } from "node:crypto";
import type { FileSource } from "../../client/src/client.ts";

/** A file of any size whose bytes look random, follow from the seed, and are made when they are read. */
export interface MadeUpFile extends FileSource {
  bytes(start: number, end: number): Buffer<ArrayBuffer>;
}

const blockBytes = 16;

export function makeUpFile(seed: string, size: number): MadeUpFile {
  const key = Buffer.alloc(16, seed);
  /** The key stream of AES in counter mode can be read from any block. */
  function bytes(start: number, end: number): Buffer<ArrayBuffer> {
    const first = Math.floor(start / blockBytes);
    const counter = Buffer.alloc(blockBytes);
    counter.writeBigUInt64BE(BigInt(first), 8);
    const zeros = Buffer.alloc(end - first * blockBytes);
    return createCipheriv("aes-128-ctr", key, counter)
      .update(zeros)
      .subarray(start - first * blockBytes);
  }
  return {
    name: "made-up.bin",
    size,
    bytes,
    slice: (start, end) => ({
      async arrayBuffer() {
        const { buffer, byteOffset, length } = bytes(start, end);
        return buffer.slice(byteOffset, byteOffset + length);
      },
    }),
  };
}
