/** The entrance of this folder: summaries of texts. */
import type { Clock } from "../lib/clock.ts";
import { extractInThread } from "./extract-in-thread.ts";
import { SummaryError } from "./summary-error.ts";
import { type SummaryOptions, wordsWithin } from "./summary-options.ts";
import { countWords } from "./words.ts";

export { SummaryError, type SummaryErrorCode, summaryErrorCodes } from "./summary-error.ts";
export {
  leastWords,
  mostWords,
  type SummaryOptions,
  type SummaryStyle,
  summaryStyles,
  usualWords,
} from "./summary-options.ts";

export interface Summary {
  /** Plain text. */
  summary: string;
  /** At most 10, each at most 40 words. */
  keyPoints: string[];
  /** Of the summary, as a language tag; null when it is that of a document whose language is unknown. */
  language: string | null;
  /** Of the summary. */
  words: number;
  /** `extractive`: the summary consists of sentences of the text. */
  model: "extractive";
  tokens: { input: number; output: number; isEstimated: boolean };
}

export interface SummaryDeps {
  /** Of the text, as an ISO 639-1 code; null: unknown. */
  textLanguage: string | null;
  clock: Clock;
  signal: AbortSignal;
  /** 0 to 100, only upwards. */
  onProgress?(percent: number): void;
}

/**
 * A summary of a text of at most 16 MiB. It consists of sentences of the text, in its language even if
 * `options.language` is another one. Throws a `SummaryError`, or the reason of `signal`.
 */
export async function summarize(text: string, options: SummaryOptions, deps: SummaryDeps): Promise<Summary> {
  const { signal, clock, textLanguage, onProgress } = deps;
  if (!/[\p{L}\p{N}]/u.test(text)) throw new SummaryError("DOCUMENT_EMPTY", "The document has no text to summarize.");
  const wanted = { style: options.style, maxWords: wordsWithin(options), language: textLanguage };
  const { summary, keyPoints } = await extractInThread(text, wanted, { clock, signal });
  onProgress?.(100);
  return {
    summary,
    keyPoints,
    language: textLanguage,
    words: countWords(summary),
    model: "extractive",
    tokens: { input: 0, output: 0, isEstimated: false },
  };
}
