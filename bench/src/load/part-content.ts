import { createCipheriv, createHash } from "node:crypto";

export const contentBytes = 256 * 1024;

/** What every part begins with, and repeats: bytes that look random, of a type that the hub accepts. */
export function partContent(): Buffer {
  const zeros = Buffer.alloc(contentBytes);
  const content = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(zeros);
  content.write("%PDF-1.7\n");
  return content;
}

/** The SHA-256 of the SHA-256s of parts that repeat `content`, as `checksum` of the contract. */
export function checksumOf(content: Buffer, parts: readonly number[]): string {
  const known = new Map<number, Buffer>();
  const hashOf = (bytes: number): Buffer => {
    const hash = createHash("sha256");
    for (let left = bytes; left > 0; left -= content.length) hash.update(content.subarray(0, left));
    return hash.digest();
  };
  const whole = createHash("sha256");
  for (const bytes of parts) {
    if (!known.has(bytes)) known.set(bytes, hashOf(bytes));
    whole.update(known.get(bytes)!);
  }
  return `${whole.digest("hex")}-${parts.length}`;
}
