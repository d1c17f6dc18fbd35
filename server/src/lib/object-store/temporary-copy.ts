import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ObjectStore, tooLarge } from "./object-store.ts";

interface CopyOptions {
  /** It is created. */
  folder: string;
  maxBytes: number;
  signal?: AbortSignal;
}

/**
 * An object as an open file, for what needs to read at any place. The file has no name any more, so it is gone when it
 * is closed, also by the end of the process. Throws `object_missing`, `too_large`, and the reason of `signal`.
 */
export async function openTemporaryCopy(
  store: Pick<ObjectStore, "read">,
  key: string,
  { folder, maxBytes, signal }: CopyOptions,
): Promise<FileHandle> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${randomUUID()}.tmp`);
  const file = await open(path, "wx+", 0o600);
  try {
    await rm(path, { force: true });
    const source = await store.read(key);
    const stop = () => source.destroy(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    try {
      let bytes = 0;
      for await (const chunk of source as AsyncIterable<Buffer>) {
        signal?.throwIfAborted();
        if (bytes + chunk.length > maxBytes) throw tooLarge(maxBytes);
        // With its position, so that who gets the open file reads from its start.
        for (let done = 0; done < chunk.length; ) {
          done += (await file.write(chunk, done, chunk.length - done, bytes + done)).bytesWritten;
        }
        bytes += chunk.length;
      }
      signal?.throwIfAborted();
    } finally {
      signal?.removeEventListener("abort", stop);
      source.destroy();
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}
