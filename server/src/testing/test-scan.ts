import { loadPdfium, Pdf } from "../documents/pdfium.ts";
import { makePdf } from "./test-documents.ts";

/** A page with these lines, as a scanner sees it. */
export async function scanOf(pages: string[][]): Promise<{ pixels: Uint8Array; width: number; height: number }> {
  const file = makePdf(pages);
  const pdf = new Pdf(await loadPdfium(), file.length, (memory) => memory.set(file));
  const image = Buffer.from(pdf.withPage(0, (page) => page.render(200, 10_000_000))!);
  const [header = "", width, height] = /^P5\n(\d+) (\d+)\n255\n/.exec(image.toString("latin1", 0, 100)) ?? [];
  return { pixels: image.subarray(header.length), width: Number(width), height: Number(height) };
}
