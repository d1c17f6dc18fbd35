import { maxPages } from "../bounds.ts";
import { DocumentError } from "../document-error.ts";
import { Ocr } from "../ocr.ts";
import { loadPdfium, Pdf } from "../pdfium.ts";
import type { Facts, Source } from "../reader.ts";
import { checkFileSize, type InputFile, readInto } from "./read-whole.ts";

/** Text page by page. A page without any is rendered, and its text recognised. */
export async function readPdf(source: Source): Promise<Facts> {
  const { output, progress } = source;
  const pdf = await openPdf(source);
  if (pdf.pageCount > maxPages) {
    throw new DocumentError("DOCUMENT_TOO_LARGE", `The document has more than ${maxPages} pages.`);
  }
  let ocr: Ocr | undefined;
  for (let index = 0; index < pdf.pageCount; index += 1) {
    progress.set(index, pdf.pageCount);
    output.mark("page");
    const { text, image } = pdf.withPage(index, (page) => {
      const text = page.text();
      return text.trim() === "" ? { text, image: page.render(renderDpi, maxRenderedPixels) } : { text, image: null };
    });
    output.append(text);
    if (image === null) continue;
    ocr ??= await Ocr.start();
    const onProgress = (done: number) => progress.set(index + done, pdf.pageCount);
    output.append(ocr.recognize(image, { dpi: renderDpi, onProgress }) ?? "");
  }
  return { title: pdf.title };
}

/** Throws a `DocumentError` for a file that is incomplete or has no pages. */
export async function openPdf(file: InputFile): Promise<Pdf> {
  checkFileSize(file);
  const pdf = new Pdf(await loadPdfium(), file.sizeBytes, (memory) => {
    readInto(file, memory);
    // PDFium would read what is left of a truncated file.
    if (!Buffer.from(memory.subarray(-trailerWithinBytes)).includes("%%EOF")) throw incomplete();
  });
  if (pdf.pageCount <= 0) throw new DocumentError("DOCUMENT_CORRUPT", "The document has no pages.");
  return pdf;
}

/** Programs write the end mark last, but some append a little. */
const trailerWithinBytes = 64 * 1024;
const renderDpi = 216;
/** A4 has 4.5 million. */
const maxRenderedPixels = 12_000_000;

function incomplete(): DocumentError {
  return new DocumentError("DOCUMENT_CORRUPT", "The document is incomplete: its end is missing.");
}
