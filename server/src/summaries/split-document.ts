import { bytesPerToken } from "./estimate-tokens.ts";

export interface DocumentParts {
  /** In order. */
  parts: string[];
  /** Of the text that is in no part, in UTF-16 code units. */
  omittedCharacters: number;
}

/**
 * Parts of at most `maxTokens` (as estimated), cut between paragraphs, sentences or words. When there would be more than
 * `maxParts`, the parts are spread evenly over the text, and what is between them is left out.
 */
export function splitDocument(text: string, maxTokens: number, maxParts: number): DocumentParts {
  const ranges = rangesOf(text, maxTokens * bytesPerToken);
  const chosen =
    ranges.length <= maxParts
      ? ranges
      : Array.from({ length: maxParts }, (_, at) => ranges[Math.round((at * (ranges.length - 1)) / (maxParts - 1))]!);
  const parts = chosen.map(([start, end]) => text.slice(start, end));
  return { parts, omittedCharacters: text.length - parts.reduce((sum, part) => sum + part.length, 0) };
}

function rangesOf(text: string, maxBytes: number): [start: number, end: number][] {
  const ranges: [number, number][] = [];
  for (let start = 0; start < text.length; ) {
    const end = endWithin(text, start, maxBytes);
    ranges.push([start, end]);
    start = end;
  }
  return ranges;
}

function endWithin(text: string, start: number, maxBytes: number): number {
  let bytes = 0;
  let at = start;
  while (at < text.length) {
    const point = text.codePointAt(at)!;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
    if (bytes > maxBytes && at > start) break;
    at += point < 0x1_0000 ? 1 : 2;
  }
  if (at === text.length) return at;
  const least = start + Math.floor((at - start) * leastFilled);
  for (const separator of separators) {
    const found = text.lastIndexOf(separator, at - separator.length);
    if (found >= least) return found + separator.length;
  }
  return at;
}

const separators = ["\n\n", "\n", ". ", "。", " "];
/** A part is cut earlier than it must be to end with a paragraph, but no earlier than this share of it. */
const leastFilled = 0.7;
