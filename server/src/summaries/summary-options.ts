/**
 * How a summary is written. `paragraph`: running text. `bullets`: lines that begin with `- `. `brief`: one or two
 * sentences, at most `maxBriefWords` words.
 */
export const summaryStyles = ["paragraph", "bullets", "brief"] as const;
export type SummaryStyle = (typeof summaryStyles)[number];

export interface SummaryOptions {
  style: SummaryStyle;
  /** Of the summary, not counting its key points: `leastWords` to `mostWords`. */
  maxWords: number;
  /** Of the summary, as a language tag such as `pt` or `pt-BR`; null: that of the document. */
  language: string | null;
}

export const leastWords = 20;
export const mostWords = 1_000;
export const usualWords = 200;
export const maxBriefWords = 60;
export const maxKeyPoints = 10;
export const maxKeyPointWords = 40;

export function wordsWithin({ style, maxWords }: SummaryOptions): number {
  const words = Math.min(Math.max(maxWords, leastWords), mostWords);
  return style === "brief" ? Math.min(words, maxBriefWords) : words;
}
