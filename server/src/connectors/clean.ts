import { plainName } from "../lib/names.ts";

/** In UTF-16 code units: an id must fit an index entry of the database. */
export const maxIdLength = 500;
const maxDetailLength = 500;

/** U+0000 and lone surrogates, which jsonb refuses, become U+FFFD. Cut after `maxLength` code points. */
export function cleanText(text: string, maxLength: number): string {
  const wellFormed = text.toWellFormed();
  const clean = wellFormed.includes("\0") ? wellFormed.replaceAll("\0", "\ufffd") : wellFormed;
  if (clean.length <= maxLength) return clean;
  const points = [...clean];
  return points.length <= maxLength ? clean : points.slice(0, maxLength).join("");
}

export function cleanDetail(text: string): string {
  return cleanText(text, maxDetailLength);
}

/** A platform's id; empty when it cannot be stored. */
export function cleanId(id: string): string {
  return id.length <= maxIdLength && id.isWellFormed() && !id.includes("\0") ? id : "";
}

const maxFilenameLength = 255;

/** A file's name, in one line and without characters that turn the direction of a text; null when nothing of it is visible. */
export function cleanFilename(name: string): string | null {
  const plain = plainName(name);
  return plain === null ? null : cleanText(plain, maxFilenameLength);
}
