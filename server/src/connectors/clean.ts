/** Longest id of a platform that is kept, in UTF-16 code units: it must fit an index entry of the database. */
export const maxIdLength = 500;
/** Longest explanation of a platform that is kept, in code points. */
const maxDetailLength = 500;

/**
 * Text that every store takes: PostgreSQL's jsonb refuses U+0000 and half a surrogate pair, and one such message would
 * fail for ever. Both become U+FFFD. Cut after `maxLength` code points.
 */
export function cleanText(text: string, maxLength: number): string {
  const wellFormed = text.toWellFormed();
  const clean = wellFormed.includes("\0") ? wellFormed.replaceAll("\0", "\ufffd") : wellFormed;
  if (clean.length <= maxLength) return clean;
  const points = [...clean];
  return points.length <= maxLength ? clean : points.slice(0, maxLength).join("");
}

/** What a platform says about a failure. */
export function cleanDetail(text: string): string {
  return cleanText(text, maxDetailLength);
}

/** A platform's id as it came; empty when it cannot be one that we could keep. */
export function cleanId(id: string): string {
  return id.length <= maxIdLength && id.isWellFormed() && !id.includes("\0") ? id : "";
}
