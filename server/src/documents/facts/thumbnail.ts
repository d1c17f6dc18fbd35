import { readFileSync } from "node:fs";
import {
  ColorProfile,
  ColorSpace,
  type IMagickImage,
  ImageMagick,
  initializeImageMagick,
  MagickError,
  MagickFormat,
  MagickGeometry,
  MagickImageInfo,
  MagickReadSettings,
  Orientation,
  ResourceLimits,
} from "@imagemagick/magick-wasm";
import { DocumentError } from "../document-error.ts";
import type { PageImage } from "../pdfium.ts";
import { srgbProfile } from "./srgb-profile.ts";

/** Of the longer side, in pixels. */
export const thumbnailSide = 320;
const quality = 75;
/** To decode; a pixel takes 4 bytes, and the decoders of some formats hold it twice. */
const maxPixels = 50_000_000;
/** A JPEG is decoded at an eighth of its size where that is enough. */
const maxJpegPixels = 250_000_000;
const maxMemoryBytes = 400n * 1024n * 1024n;

/** Nothing else is decoded: ImageMagick knows a hundred more formats, some of which are programs. */
const formats: Readonly<Record<string, MagickFormat>> = {
  "image/jpeg": MagickFormat.Jpeg,
  "image/png": MagickFormat.Png,
  "image/webp": MagickFormat.WebP,
  "image/gif": MagickFormat.Gif,
  "image/avif": MagickFormat.Avif,
  "image/heic": MagickFormat.Heic,
  "image/heif": MagickFormat.Heic,
  "image/heic-sequence": MagickFormat.Heic,
  "image/heif-sequence": MagickFormat.Heic,
  "image/bmp": MagickFormat.Bmp,
  "image/tiff": MagickFormat.Tiff,
};

/** ImageMagick in WebAssembly, which needs no native code, and so no permission for it. */
export async function openMagick(): Promise<void> {
  await initializeImageMagick(readFileSync(new URL(import.meta.resolve("@imagemagick/magick-wasm/magick.wasm"))));
  ResourceLimits.memory = maxMemoryBytes;
  ResourceLimits.disk = 0n;
}

/** The size of an image as it is shown, and a thumbnail of it. Throws before an image that is too large is decoded. */
export function thumbnailOfImage(
  bytes: Uint8Array,
  contentType: string,
): { width: number; height: number; thumbnail: Uint8Array } {
  const format = formats[contentType]!;
  const firstImage = { format, frameIndex: 0, frameCount: 1 };
  const settings = new MagickReadSettings(firstImage);
  settings.setDefine(MagickFormat.Jpeg, "size", `${2 * thumbnailSide}x${2 * thumbnailSide}`);
  return translate(() => {
    const { width, height } = MagickImageInfo.create(bytes, new MagickReadSettings(firstImage));
    const limit = format === MagickFormat.Jpeg ? maxJpegPixels : maxPixels;
    if (width * height > limit) {
      throw new DocumentError("DOCUMENT_TOO_LARGE", `The image has more than ${limit / 1_000_000} million pixels.`);
    }
    return ImageMagick.read(bytes, settings, (image) => {
      const isTurned = image.orientation >= Orientation.LeftTop;
      image.autoOrient();
      const thumbnail = encode(image);
      return isTurned ? { width: height, height: width, thumbnail } : { width, height, thumbnail };
    });
  });
}

export function thumbnailOfPage({ pixels, width, height }: PageImage): Uint8Array {
  const settings = new MagickReadSettings({ format: MagickFormat.Bgra, width, height, depth: 8 });
  return translate(() => ImageMagick.read(pixels, settings, encode));
}

function encode(image: IMagickImage): Uint8Array {
  const size = new MagickGeometry(thumbnailSide, thumbnailSide);
  // Never larger than the image.
  size.greater = true;
  image.thumbnail(size);
  // The profile is removed with all other metadata.
  if (image.getColorProfile() !== null) image.transformColorSpace(new ColorProfile(srgbProfile));
  if (image.colorSpace !== ColorSpace.sRGB) image.colorSpace = ColorSpace.sRGB;
  image.strip();
  image.quality = quality;
  return image.write(MagickFormat.WebP, (data) => data.slice());
}

function translate<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof MagickError)) throw error;
    const isTooLarge = exceeded.test(error.message);
    throw isTooLarge
      ? new DocumentError("DOCUMENT_TOO_LARGE", "The image takes more memory than may be used to read it.")
      : new DocumentError("DOCUMENT_CORRUPT", "The image is damaged or incomplete.");
  }
}

/** Of ImageMagick: a limit is exceeded, or memory cannot be had. */
const exceeded = /exceeds?limit|exhausted|allocationfailed/i;
