import { readSync } from "node:fs";
import mediaInfoFactory, { type MediaInfo } from "mediainfo.js";
import { DocumentError } from "../document-error.ts";
import type { Describe } from "./describe.ts";
import { type Facts, maxCount } from "./facts-message.ts";

/** MediaInfo in WebAssembly. It reads only what it needs of a large file, mostly its beginning and its end. */
export const describeMedia: Describe = async ({ fd, sizeBytes }) => {
  const mediaInfo: MediaInfo = await mediaInfoFactory();
  const { media } = await mediaInfo.analyzeData(sizeBytes, (bytes, offset) => {
    const chunk = new Uint8Array(bytes);
    return chunk.subarray(0, readSync(fd, chunk, 0, bytes, offset));
  });
  const tracks = media?.track ?? [];
  const general = tracks.find((track) => track["@type"] === "General");
  if (general?.Format === undefined) {
    throw new DocumentError("DOCUMENT_CORRUPT", "The file does not contain audio or video that can be read.");
  }
  const video = tracks.find((track) => track["@type"] === "Video");
  const size = { width: countOf(video?.Width), height: countOf(video?.Height) };
  const durationMs = countOf(general.Duration === undefined ? undefined : general.Duration * 1_000);
  return { ...(isTurned(video?.Rotation) ? turned(size) : size), durationMs };
};

/** Null for what a file cannot honestly say. */
function countOf(value: number | undefined): number | null {
  return value !== undefined && value >= 0 && value <= maxCount ? Math.round(value) : null;
}

/** Phones write videos as their sensor is mounted, with the angle. */
function isTurned(degrees: string | undefined): boolean {
  return Math.round(Number(degrees ?? 0) / 90) % 2 !== 0;
}

function turned({ width, height }: Pick<Facts, "width" | "height">): Pick<Facts, "width" | "height"> {
  return { width: height, height: width };
}
