import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MagickFormat } from "@imagemagick/magick-wasm";
import { systemClock } from "../../lib/clock.ts";
import { closeAfterTests } from "../../testing/close-after-tests.ts";
import { makePdf, makePng } from "../../testing/test-documents.ts";
import { blue, cameraOwner, makeImage, makePhoto, readImage, red } from "../../testing/test-images.ts";
import { DocumentError, type DocumentErrorCode, describeFile, type FileFacts, hasFacts } from "../documents.ts";
import { srgbProfile } from "./srgb-profile.ts";

const opened = closeAfterTests();
const folder = opened.adopt(await mkdtemp(join(tmpdir(), "facts-")), (path) => rm(path, { recursive: true }));
const path = join(folder, "file");

async function describe(contentType: string, content: string | Buffer): Promise<FileFacts> {
  assert.ok(hasFacts(contentType));
  await writeFile(path, content);
  return describeFile(path, { contentType, clock: systemClock });
}

/** Made by ffmpeg and heif-enc, as small as they make them. */
const fixture = (name: string) => readFile(new URL(`fixtures/${name}`, import.meta.url));

async function fails(code: DocumentErrorCode, contentType: string, content: string | Buffer): Promise<void> {
  await assert.rejects(describe(contentType, content), (error) => {
    assert.ok(error instanceof DocumentError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

const zeros = (bytes: number) => Buffer.alloc(bytes);
const none = { width: null, height: null, durationMs: null, pages: null };

test("images have a size and a thumbnail", async () => {
  const formats: [string, MagickFormat][] = [
    ["image/jpeg", MagickFormat.Jpeg],
    ["image/png", MagickFormat.Png],
    ["image/webp", MagickFormat.WebP],
    ["image/gif", MagickFormat.Gif],
    ["image/bmp", MagickFormat.Bmp],
    ["image/tiff", MagickFormat.Tiff],
  ];
  for (const [contentType, format] of formats) {
    const { thumbnail, ...facts } = await describe(contentType, await makeImage(format, { width: 1600, height: 400 }));
    assert.deepEqual(facts, { ...none, width: 1600, height: 400 }, contentType);
    const { left: _, right: __, ...shown } = await readImage(thumbnail!);
    assert.deepEqual(shown, { format: MagickFormat.WebP, width: 320, height: 80, top: red, bottom: blue }, contentType);
  }
  for (const [contentType, name] of [["image/heic", "photo.heic"] as const, ["image/avif", "photo.avif"] as const]) {
    const { thumbnail, ...facts } = await describe(contentType, await fixture(name));
    assert.deepEqual(facts, { ...none, width: 64, height: 48 }, contentType);
    const { width, height, top, bottom } = await readImage(thumbnail!);
    assert.deepEqual([width, height, top, bottom], [64, 48, red, blue], "never larger than the image");
  }
});

test("a photo is turned as its camera says, and the thumbnail does not say whose it is, nor where it was made", async () => {
  const sides = ["top", "right", "bottom", "left"] as const;
  // Where the upper side of the pixels is shown. Source: EXIF 2.32, table 6.
  const upperSide = { 1: "top", 3: "bottom", 6: "right", 8: "left" };
  for (const [orientation, side] of Object.entries(upperSide)) {
    const photo = await makePhoto({ width: 3000, height: 2000, colorProfile: srgbProfile }, Number(orientation));
    for (const part of [cameraOwner, "ICC_PROFILE"]) assert.ok(photo.includes(part), part);
    const { thumbnail, width, height } = await describe("image/jpeg", photo);
    const isTurned = Number(orientation) > 4;
    assert.deepEqual([width, height], isTurned ? [2000, 3000] : [3000, 2000]);
    const shown = await readImage(thumbnail!);
    assert.deepEqual([shown.width, shown.height], isTurned ? [213, 320] : [320, 213]);
    const opposite = sides[(sides.indexOf(side as (typeof sides)[number]) + 2) % 4]!;
    assert.deepEqual([shown[side as "top"], shown[opposite]], [red, blue], `orientation ${orientation}`);
    for (const part of [cameraOwner, "EXIF", "Exif", "ICCP"]) assert.ok(!thumbnail!.includes(part), part);
  }
});

test("a PDF has pages, and its first one as thumbnail", async () => {
  const squares = "1 0 0 rg 0 421 595 421 re f 0 0 1 rg 0 0 595 421 re f";
  const pdf = makePdf([[], ["the second page"], []], { operators: squares });
  const { thumbnail, ...facts } = await describe("application/pdf", pdf);
  assert.deepEqual(facts, { ...none, pages: 3 });
  const { width, height, top, bottom } = await readImage(thumbnail!);
  assert.deepEqual([Math.max(width, height), top, bottom], [320, red, blue]);
});

test("audio and video have a duration, and video a size as it is shown", async () => {
  const samples: [contentType: string, name: string, facts: object][] = [
    ["audio/ogg; codecs=opus", "voice.ogg", { durationMs: 1507 }],
    // Without the header that says how many frames there are.
    ["audio/mpeg", "song.mp3", { durationMs: 2160 }],
    ["video/webm", "clip.webm", { durationMs: 2000, width: 64, height: 48 }],
    ["video/mp4", "turned.mp4", { durationMs: 2000, width: 48, height: 64 }],
  ];
  for (const [contentType, name, facts] of samples) {
    const found = await describe(contentType, await fixture(name));
    assert.deepEqual(found, { ...none, ...facts, thumbnail: null }, name);
  }
});

test("files of other types have no facts", () => {
  const types = ["text/plain", "application/zip", "image/svg+xml", "image/x-icon", "application/octet-stream", ""];
  assert.deepEqual(types.filter(hasFacts), []);
});

test("images with more pixels than are decoded are refused by what their header says", async () => {
  const claimed = { width: 50_000, height: 50_000 };
  await fails("DOCUMENT_TOO_LARGE", "image/png", makePng(zeros(100), 10, 10, claimed));
  const jpeg = await makeImage(MagickFormat.Jpeg, { width: 16, height: 16 });
  const frame = jpeg.indexOf(Buffer.from("ffc0", "hex"));
  jpeg.writeUInt16BE(65_000, frame + 5);
  jpeg.writeUInt16BE(65_000, frame + 7);
  await fails("DOCUMENT_TOO_LARGE", "image/jpeg", jpeg);
});

test("an image with the most pixels that are decoded takes no more than it may", async () => {
  const side = 7_000;
  const { thumbnail, ...facts } = await describe("image/png", makePng(zeros(side * side), side, side));
  assert.deepEqual(facts, { ...none, width: side, height: side });
  assert.ok(thumbnail!.length > 0);
});

test("damaged files, and those of another type than they are called, are refused", async () => {
  const png = await makeImage(MagickFormat.Png, { width: 300, height: 300 });
  await fails("DOCUMENT_CORRUPT", "image/png", png.subarray(0, 20));
  await fails("DOCUMENT_CORRUPT", "image/jpeg", png);
  for (const type of ["image/jpeg", "image/heic", "image/tiff", "application/pdf", "video/mp4", "audio/mpeg"]) {
    await fails("DOCUMENT_CORRUPT", type, zeros(100_000));
  }
  // Formats of ImageMagick that are programs.
  const drawing =
    "push graphic-context\nviewbox 0 0 10 10\nimage over 0,0 0,0 'caption:@/etc/passwd'\npop graphic-context";
  await fails("DOCUMENT_CORRUPT", "image/png", drawing);
  await fails("DOCUMENT_CORRUPT", "image/png", '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>');
});

test("files that take too long or too much memory are stopped", async () => {
  const many = "0 0 m 500 800 l S 1 0 0 1 0.1 0.1 cm ".repeat(3_000_000);
  await fails("DOCUMENT_TOO_LARGE", "application/pdf", makePdf([[]], { operators: many }));
  const dashed = `[0.05 0.05] 0 d ${"0 0 m 500 800 l S ".repeat(300_000)}`;
  await fails("DOCUMENT_TIMEOUT", "application/pdf", makePdf([[]], { operators: dashed }));
});

test("a describing that is cancelled ends", async () => {
  const signal = AbortSignal.abort(new Error("cancelled"));
  await writeFile(path, zeros(10));
  await assert.rejects(describeFile(path, { contentType: "image/png", clock: systemClock, signal }), {
    message: "cancelled",
  });
});
