/**
 * How a summary is written. `paragraph`: running text. `bullets`: lines that begin with `- `. `brief`: one or two
 * sentences, at most `maxBriefWords` words.
 */
export type SummaryStyle = "paragraph" | "bullets" | "brief";

export interface SummaryOptions {
  style: SummaryStyle;
  /** Of the summary, not counting its key points. */
  maxWords: number;
  /** Of the summary, as a language tag such as `pt` or `pt-BR`; null: that of the document. */
  language: string | null;
}

export const maxBriefWords = 60;
export const maxKeyPoints = 10;
export const maxKeyPointWords = 40;

export function wordsWithin({ style, maxWords }: SummaryOptions): number {
  return style === "brief" ? Math.min(maxWords, maxBriefWords) : maxWords;
}
