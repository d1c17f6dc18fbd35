import type { FileHandle } from "node:fs/promises";
import type { Clock } from "../../lib/clock.ts";
import { readLimited } from "../read-limited.ts";
import { type Facts, parseMessage } from "./facts-message.ts";
import { findSource } from "./sources.ts";

export interface FileFacts extends Facts {
  /** A WebP image within 320 × 320 pixels, without metadata; at most 256 KiB. Null where there is none. */
  thumbnail: Buffer | null;
}

export interface DescribeOptions {
  /** What the bytes are. */
  contentType: string;
  clock: Clock;
  signal?: AbortSignal | undefined;
}

/** Whether there are facts to find in files of this type: images, PDF, audio and video. */
export function hasFacts(contentType: string): boolean {
  return findSource(contentType) !== null;
}

/**
 * Facts about a file for which `hasFacts` is true, with a thumbnail of an image or of the first page of a PDF. Throws a
 * `DocumentError`, or the reason of `signal`. The file is read in a limited process, as by `extractText`, which may use
 * 8 s of CPU.
 */
export async function describeFile(
  file: FileHandle | string,
  { contentType, clock, signal }: DescribeOptions,
): Promise<FileFacts> {
  let facts: Facts | undefined;
  const text = await readLimited({
    entry: new URL("./facts-process.ts", import.meta.url),
    file,
    args: [contentType],
    limits: { timeMs, cpuMs, silentCpuMs: cpuMs, outputBytes: maxOutputBytes },
    clock,
    signal,
    parse: parseMessage,
    onMessage(message) {
      facts = message.facts;
    },
  });
  if (facts === undefined) throw new Error("The process that describes a file ended without a result.");
  return { ...facts, thumbnail: text === "" ? null : Buffer.from(text, "base64") };
}

const cpuMs = 8_000;
/** The process has the lowest priority: on a busy machine it takes much longer than its CPU time. */
const timeMs = 120_000;
/** Base64. */
const maxOutputBytes = (256 * 1024 * 4) / 3;
