import { readFileSync } from "node:fs";
import {
  ColorProfile,
  ImageMagick,
  initializeImageMagick,
  MagickFormat,
  MagickReadSettings,
} from "@imagemagick/magick-wasm";

const magick = initializeImageMagick(
  readFileSync(new URL(import.meta.resolve("@imagemagick/magick-wasm/magick.wasm"))),
);

export const red = [255, 0, 0] as const;
export const blue = [0, 0, 255] as const;
/** What a camera writes into its photos; a thumbnail must not have it. */
export const cameraOwner = "Owner of the camera";

/** The upper half is red, the lower one blue. */
export async function makeImage(
  format: MagickFormat,
  { width, height, colorProfile }: { width: number; height: number; colorProfile?: Buffer },
): Promise<Buffer> {
  await magick;
  const upper = Buffer.alloc((width * height * 3) / 2, Buffer.from(red));
  const lower = Buffer.alloc((width * height * 3) / 2, Buffer.from(blue));
  const settings = new MagickReadSettings({ format: MagickFormat.Rgb, width, height, depth: 8 });
  return ImageMagick.read(Buffer.concat([upper, lower]), settings, (image) => {
    if (colorProfile !== undefined) image.setProfile(new ColorProfile(colorProfile));
    return image.write(format, (bytes) => Buffer.from(bytes));
  });
}

/** A JPEG as cameras write it. `orientation` as in EXIF. Source: EXIF 2.32, 4.5 and 4.6. */
export async function makePhoto(size: Parameters<typeof makeImage>[1], orientation: number): Promise<Buffer> {
  const jpeg = await makeImage(MagickFormat.Jpeg, size);
  const owner = Buffer.from(`${cameraOwner}\0`);
  const entries = [
    entry(0x0112, { type: 3, count: 1, value: orientation << 16 }),
    entry(0x013b, { type: 2, count: owner.length, value: 8 + 2 + 2 * 12 + 4 }),
  ];
  const tiff = Buffer.concat([Buffer.from("4d4d002a000000080002", "hex"), ...entries, Buffer.alloc(4), owner]);
  const exif = Buffer.concat([Buffer.from("Exif\0\0"), tiff]);
  const segment = Buffer.from("ffe10000", "hex");
  segment.writeUInt16BE(exif.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), segment, exif, jpeg.subarray(2)]);
}

function entry(tag: number, { type, count, value }: { type: number; count: number; value: number }): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(tag, 0);
  bytes.writeUInt16BE(type, 2);
  bytes.writeUInt32BE(count, 4);
  bytes.writeUInt32BE(value, 8);
  return bytes;
}

/** The size of an image, and the colours in the middle of its four edges: red and blue as above, others as they are. */
export async function readImage(bytes: Buffer) {
  await magick;
  return ImageMagick.read(bytes, (image) =>
    image.getPixels((pixels) => {
      const { format, width, height } = image;
      const colorAt = (x: number, y: number) => {
        const found = [...pixels.getPixel(Math.floor(x), Math.floor(y))].slice(0, 3);
        return (
          [red, blue].find((color) => color.every((value, index) => Math.abs(value - found[index]!) < 30)) ?? found
        );
      };
      return {
        format,
        width,
        height,
        top: colorAt(width / 2, 1),
        bottom: colorAt(width / 2, height - 2),
        left: colorAt(1, height / 2),
        right: colorAt(width - 2, height / 2),
      };
    }),
  );
}
