/** The entrance of this folder: summaries of texts, by a language model or by choosing sentences. */
import type { Clock } from "../lib/clock.ts";
import { extractInThread } from "./extract-in-thread.ts";
import type { Tokens, UserModel } from "./language-model.ts";
import { plainText } from "./plain-text.ts";
import { summarizeWithModel } from "./summarize-with-model.ts";
import { SummaryError } from "./summary-error.ts";
import { type SummaryOptions, wordsWithin } from "./summary-options.ts";
import { countWords } from "./words.ts";

export { type Asker, type LanguageModel, type LlmConfig, openLanguageModel } from "./language-model.ts";
export { deleteOldLlmUsage } from "./llm-usage.ts";
export { SummaryError, type SummaryErrorCode, summaryErrorCodes } from "./summary-error.ts";
export type { SummaryOptions, SummaryStyle } from "./summary-options.ts";

export interface Summary {
  /** Plain text. */
  summary: string;
  /** At most 10, each at most 40 words. */
  keyPoints: string[];
  /** Of the summary, as a language tag; null when it is that of a document whose language is unknown. */
  language: string | null;
  /** Of the summary. */
  words: number;
  /** The name of the language model, or `extractive`. */
  model: string;
  tokens: Tokens;
  /** Of the text that was too long to be read, in UTF-16 code units. */
  omittedCharacters: number;
}

export interface SummaryDeps {
  /** Null: the summary consists of sentences of the text. */
  model: UserModel | null;
  /** Of the text, as an ISO 639-1 code; null: unknown. */
  textLanguage: string | null;
  clock: Clock;
  signal: AbortSignal;
  /** 0 to 100, only upwards. */
  onProgress?(percent: number): void;
}

/**
 * A summary of a text of at most 16 MiB. Without a language model it is made of sentences of the text, in its language
 * even if `options.language` is another one. Throws a `SummaryError`, or the reason of `signal`.
 */
export async function summarize(text: string, options: SummaryOptions, deps: SummaryDeps): Promise<Summary> {
  const { model, signal, clock, textLanguage, onProgress = () => {} } = deps;
  if (!/[\p{L}\p{N}]/u.test(text)) throw new SummaryError("DOCUMENT_EMPTY", "The document has no text to summarize.");
  if (model !== null) {
    const made = await summarizeWithModel(text, options, { model, signal, onProgress });
    const language = options.language ?? textLanguage;
    return { ...made, language, words: countWords(made.summary), model: model.name, tokens: { ...model.tokens } };
  }
  const wanted = { style: options.style, maxWords: wordsWithin(options), language: textLanguage };
  const { summary, keyPoints } = await extractInThread(text, wanted, { clock, signal });
  onProgress(100);
  return {
    summary: plainText(summary, summary),
    keyPoints: keyPoints.map((point) => plainText(point, point)),
    language: textLanguage,
    words: countWords(summary),
    model: "extractive",
    tokens: { input: 0, output: 0, isEstimated: false },
    omittedCharacters: 0,
  };
}
