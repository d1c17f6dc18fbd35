import { imageSize } from "image-size";
import { maxPixels } from "../bounds.ts";
import { DocumentError } from "../document-error.ts";
import { Ocr } from "../ocr.ts";
import type { Facts, Source } from "../reader.ts";
import { readWhole } from "./read-whole.ts";

/** A scanned page or a photo of one, as one page. */
export async function readImage(source: Source): Promise<Facts> {
  const bytes = readWhole(source);
  const orientation = checkSize(bytes);
  source.progress.set(0, 1);
  const ocr = await Ocr.start();
  source.output.mark("page");
  const text = ocr.recognize(bytes, { orientation, onProgress: (done) => source.progress.set(done, 1) });
  if (text === null) throw damaged();
  source.output.append(text);
  return {};
}

/** Reads the dimensions from the header, before anything is decoded. Returns the orientation of its EXIF data. */
function checkSize(bytes: Buffer): number {
  let size: ReturnType<typeof imageSize>;
  try {
    size = imageSize(bytes);
  } catch (error) {
    throw damaged(error);
  }
  if (size.width * size.height > maxPixels) {
    throw new DocumentError("DOCUMENT_TOO_LARGE", `The image has more than ${maxPixels / 1_000_000} million pixels.`);
  }
  return size.orientation ?? 1;
}

function damaged(cause?: unknown): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", "The image is damaged or incomplete.", { cause });
}
