import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { init, type WrappedPdfiumModule } from "@embedpdf/pdfium";
import { maxTextBytes } from "./bounds.ts";
import { DocumentError } from "./document-error.ts";

/** PDFium in WebAssembly, which needs no native code, and so no permission for it. */
export type Pdfium = WrappedPdfiumModule & {
  pdfium: { HEAPU8: Uint8Array; wasmExports: { malloc(bytes: number): number; free(address: number): void } };
};

export async function loadPdfium(): Promise<Pdfium> {
  const wasm = readFileSync(fileURLToPath(import.meta.resolve("@embedpdf/pdfium/pdfium.wasm")));
  const pdfium = (await init({ wasmBinary: wasm as never, print: () => {}, printErr: () => {} })) as Pdfium;
  pdfium.PDFiumExt_Init();
  return pdfium;
}

/** One document. PDFium is closed with the process, and the document with it. */
export class Pdf {
  readonly #pdfium: Pdfium;
  readonly #document: number;
  readonly pageCount: number;

  /** `fill` writes the `sizeBytes` of the file to the memory that it gets. */
  constructor(pdfium: Pdfium, sizeBytes: number, fill: (memory: Uint8Array) => void) {
    this.#pdfium = pdfium;
    const address = this.#allocate(sizeBytes);
    fill(pdfium.pdfium.HEAPU8.subarray(address, address + sizeBytes));
    this.#document = pdfium.FPDF_LoadMemDocument(address, sizeBytes, "");
    if (this.#document === 0) throw loadError(pdfium.FPDF_GetLastError());
    this.pageCount = pdfium.FPDF_GetPageCount(this.#document);
  }

  get title(): string {
    const { FPDF_GetMetaText } = this.#pdfium;
    return this.#readUtf16(FPDF_GetMetaText(this.#document, "Title", 0, 0), (address, bytes) =>
      FPDF_GetMetaText(this.#document, "Title", address, bytes),
    );
  }

  /** Loads the page at `index`, from 0, for as long as `use` takes. */
  withPage<Result>(index: number, use: (page: PdfPage) => Result): Result {
    const page = this.#pdfium.FPDF_LoadPage(this.#document, index);
    if (page === 0) throw damaged();
    try {
      return use({
        text: () => this.#textOf(page),
        render: (dpi, maxPixels) => this.#render(page, dpi, maxPixels),
        renderWithin: (side) => this.#renderWithin(page, side),
      });
    } finally {
      this.#pdfium.FPDF_ClosePage(page);
    }
  }

  #textOf(page: number): string {
    const { FPDFText_LoadPage, FPDFText_CountChars, FPDFText_GetText, FPDFText_ClosePage } = this.#pdfium;
    const text = FPDFText_LoadPage(page);
    if (text === 0) throw damaged();
    try {
      const length = FPDFText_CountChars(text);
      if (length <= 0) return "";
      if (length > maxTextBytes) throw new DocumentError("DOCUMENT_TOO_LARGE", "A page has more text than is read.");
      // With a zero at the end.
      return this.#readUtf16(2 * (length + 1), (address) => 2 * FPDFText_GetText(text, 0, length, address));
    } finally {
      FPDFText_ClosePage(text);
    }
  }

  #render(page: number, dpi: number, maxPixels: number): Uint8Array | null {
    const { widthPoints, heightPoints } = this.#sizeOf(page);
    const scale = Math.min(dpi / pointsPerInch, Math.sqrt(maxPixels / (widthPoints * heightPoints)));
    return this.#draw(page, scale, grayBitmap, pnmImage);
  }

  #renderWithin(page: number, side: number): PageImage {
    const { widthPoints, heightPoints } = this.#sizeOf(page);
    const scale = side / Math.max(widthPoints, heightPoints);
    return this.#draw(page, scale, bgraBitmap, (pixels, width, height, stride) => {
      const image = { pixels: new Uint8Array(4 * width * height), width, height };
      for (let row = 0; row < height; row += 1) {
        image.pixels.set(pixels.subarray(row * stride, row * stride + 4 * width), row * 4 * width);
      }
      return image;
    });
  }

  #sizeOf(page: number): { widthPoints: number; heightPoints: number } {
    const pdfium = this.#pdfium;
    return { widthPoints: pdfium.FPDF_GetPageWidthF(page), heightPoints: pdfium.FPDF_GetPageHeightF(page) };
  }

  #draw<Result>(
    page: number,
    scale: number,
    format: number,
    use: (pixels: Uint8Array, width: number, height: number, stride: number) => Result,
  ): Result {
    const pdfium = this.#pdfium;
    const { widthPoints, heightPoints } = this.#sizeOf(page);
    const width = Math.max(1, Math.floor(widthPoints * scale));
    const height = Math.max(1, Math.floor(heightPoints * scale));
    const bitmap = pdfium.FPDFBitmap_CreateEx(width, height, format, 0, 0);
    if (bitmap === 0) throw outOfMemory();
    try {
      pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, width, height, white);
      pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, withAnnotations);
      const stride = pdfium.FPDFBitmap_GetStride(bitmap);
      const address = pdfium.FPDFBitmap_GetBuffer(bitmap);
      return use(pdfium.pdfium.HEAPU8.subarray(address, address + stride * height), width, height, stride);
    } finally {
      pdfium.FPDFBitmap_Destroy(bitmap);
    }
  }

  /** Reads what `write` writes, and of which it returns the length in bytes, with a zero at the end. */
  #readUtf16(bytes: number, write: (address: number, bytes: number) => number): string {
    if (bytes <= 2) return "";
    const address = this.#allocate(bytes);
    try {
      const written = Math.min(write(address, bytes), bytes);
      const { HEAPU8 } = this.#pdfium.pdfium;
      return utf16.decode(HEAPU8.subarray(address, address + Math.max(0, written - 2)));
    } finally {
      this.#pdfium.pdfium.wasmExports.free(address);
    }
  }

  #allocate(bytes: number): number {
    const address = this.#pdfium.pdfium.wasmExports.malloc(bytes);
    if (address === 0) throw outOfMemory();
    return address;
  }
}

export interface PdfPage {
  text(): string;
  /** A PNM image in shades of gray, with at most `maxPixels`. Null when the page is blank. */
  render(dpi: number, maxPixels: number): Uint8Array | null;
  /** In colour, whose longer side has `side` pixels. */
  renderWithin(side: number): PageImage;
}

export interface PageImage {
  /** Rows of blue, green, red and alpha, one byte each. */
  pixels: Uint8Array;
  width: number;
  height: number;
}

const utf16 = new TextDecoder("utf-16le");
const pointsPerInch = 72;
const grayBitmap = 1;
const bgraBitmap = 4;
const white = 0xffffffff;
const withAnnotations = 1;
/** Of 255: an image with less is blank. */
const leastContrast = 32;

function pnmImage(pixels: Uint8Array, width: number, height: number, stride: number): Uint8Array | null {
  const header = Buffer.from(`P5\n${width} ${height}\n255\n`);
  const image = new Uint8Array(header.length + width * height);
  image.set(header);
  let darkest = 255;
  let lightest = 0;
  for (let row = 0; row < height; row += 1) {
    const line = pixels.subarray(row * stride, row * stride + width);
    image.set(line, header.length + row * width);
    for (const shade of line) {
      if (shade < darkest) darkest = shade;
      if (shade > lightest) lightest = shade;
    }
  }
  return lightest - darkest < leastContrast ? null : image;
}

/** The error codes of PDFium that are about encryption: a password is needed, or the scheme is unknown. */
const encryptionErrors = [4, 5];

function loadError(code: number): DocumentError {
  if (!encryptionErrors.includes(code)) return damaged();
  return new DocumentError("DOCUMENT_ENCRYPTED", "The document is protected by a password.");
}

function damaged(): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", "The document is damaged or incomplete.");
}

function outOfMemory(): DocumentError {
  return new DocumentError("DOCUMENT_TOO_LARGE", "The document takes too much memory to read.");
}
