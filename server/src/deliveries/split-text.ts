/** The search range for a better place to cut before the limit, in UTF-16 code units. */
const lookBack = 500;

/**
 * Cuts a text into parts of at most `maxLength` UTF-16 code units, without loss: at a line end or a space if one is
 * near, never inside a surrogate pair. The space or line end stays at the end of its part.
 */
export function splitText(text: string, maxLength: number): string[] {
  const parts: string[] = [];
  let start = 0;
  while (text.length - start > maxLength) {
    const end = cutBefore(text, start, start + maxLength);
    parts.push(text.slice(start, end));
    start = end;
  }
  parts.push(text.slice(start));
  return parts;
}

function cutBefore(text: string, start: number, limit: number): number {
  const floor = Math.max(start + 1, limit - lookBack);
  for (const mark of ["\n", " "]) {
    const at = text.lastIndexOf(mark, limit - 1);
    // Platforms refuse a part of only white space.
    if (at >= floor && text.slice(start, at).trim() !== "") return at + 1;
  }
  const isInsidePair = /[\uD800-\uDBFF]/.test(text[limit - 1]!) && /[\uDC00-\uDFFF]/.test(text[limit]!);
  return isInsidePair ? limit - 1 : limit;
}
