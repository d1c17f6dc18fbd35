import { readWhole } from "../readers/read-whole.ts";
import type { Describe } from "./describe.ts";
import { openMagick, thumbnailOfImage } from "./thumbnail.ts";

export const describeImage: Describe = async (file, contentType) => {
  const bytes = readWhole(file);
  await openMagick();
  return thumbnailOfImage(bytes, contentType);
};
