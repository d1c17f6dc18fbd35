import { type FileHandle, open } from "node:fs/promises";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";

/** Both ends are included. */
export interface FileRange {
  path: string;
  start: number;
  end: number;
}

/** How much of a file is read at a time, in bytes. */
export const readBytes = 256 * 1024;
/** Buffers of a download: while one is sent, the next one is read. */
const mostBuffers = 3;

/**
 * Writes ranges of files to `destination`, one after the other, and ends it. Its buffers are used again, so that many
 * downloads leave no garbage. Rejects when a file cannot be read, and when the destination closes before its end.
 */
export async function sendFiles(ranges: Iterable<FileRange>, destination: Writable): Promise<void> {
  const closed = finished(destination, { readable: false });
  // It is awaited at the end; until then a closed destination fails the next write.
  closed.catch(() => {});
  const buffers = new Buffers(destination);
  for (const { path, start, end } of ranges) {
    const file = await open(path, "r");
    try {
      for (let position = start; position <= end; ) position += await buffers.send(file, position, end);
    } finally {
      await file.close();
    }
  }
  destination.end();
  await closed;
}

class Buffers {
  readonly #destination: Writable;
  readonly #free: Buffer[] = [];
  #made = 0;
  #error: Error | null = null;
  #onFree = (): void => {};

  constructor(destination: Writable) {
    this.#destination = destination;
    destination.once("close", () => {
      this.#error ??= Object.assign(new Error("The destination was closed."), { code: "ERR_STREAM_PREMATURE_CLOSE" });
      this.#onFree();
    });
  }

  /** Sends as much as a buffer holds; returns how many bytes. */
  async send(file: FileHandle, position: number, end: number): Promise<number> {
    const buffer = await this.#take();
    const { bytesRead } = await file.read(buffer, 0, Math.min(readBytes, end - position + 1), position);
    if (bytesRead === 0) throw new Error("A file is shorter than it was.");
    this.#destination.write(buffer.subarray(0, bytesRead), (error) => {
      this.#error ??= error ?? null;
      this.#free.push(buffer);
      this.#onFree();
    });
    return bytesRead;
  }

  async #take(): Promise<Buffer> {
    if (this.#free.length === 0 && this.#made === mostBuffers && this.#error === null) {
      await new Promise<void>((resolve) => (this.#onFree = resolve));
    }
    if (this.#error !== null) throw this.#error;
    const free = this.#free.pop();
    if (free !== undefined) return free;
    this.#made += 1;
    return Buffer.allocUnsafeSlow(readBytes);
  }
}
