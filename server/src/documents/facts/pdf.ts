import { openPdf } from "../readers/pdf.ts";
import type { Describe } from "./describe.ts";
import { openMagick, thumbnailOfPage, thumbnailSide } from "./thumbnail.ts";

export const describePdf: Describe = async (file) => {
  const pdf = await openPdf(file);
  // Twice the size looks smoother than PDFium's own pixels.
  const page = pdf.withPage(0, ({ renderWithin }) => renderWithin(2 * thumbnailSide));
  await openMagick();
  return { pages: pdf.pageCount, thumbnail: thumbnailOfPage(page) };
};
