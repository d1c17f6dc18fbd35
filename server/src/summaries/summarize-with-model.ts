import { randomBytes } from "node:crypto";
import { estimateTokens } from "./estimate-tokens.ts";
import { ContextLengthError, type UserModel } from "./language-model.ts";
import { parseResponse } from "./parse-response.ts";
import { plainText } from "./plain-text.ts";
import { promptFor, promptTokens, repairFor, type Task } from "./prompts.ts";
import { splitDocument } from "./split-document.ts";
import { SummaryError } from "./summary-error.ts";
import { maxKeyPoints, maxKeyPointWords, type SummaryOptions, wordsWithin } from "./summary-options.ts";
import { cutToWords, firstWords } from "./words.ts";

interface Draft {
  summary: string;
  keyPoints: string[];
}

export interface ModelSummary extends Draft {
  omittedCharacters: number;
}

interface ModelSummaryDeps {
  model: UserModel;
  signal: AbortSignal;
  /** 0 to 100, only upwards. */
  onProgress(percent: number): void;
}

/** Parts of a document that are summarized on their own: more are not sent, and the result says how much is left out. */
export const maxDocumentParts = 32;
/** Requests of one summary at the same time. */
const requestsAtOnce = 3;
/** Of a summary of a part, or of summaries. */
const partWords = 250;
const leastTextTokens = 500;

/**
 * A long document is summarized part by part, and then the summaries of its parts. When the model's context is shorter
 * than `contextTokens`, the parts become smaller.
 */
export async function summarizeWithModel(
  text: string,
  options: SummaryOptions,
  deps: ModelSummaryDeps,
): Promise<ModelSummary> {
  const { contextTokens } = deps.model;
  const outputTokens = Math.min(
    outputTokensFor(Math.max(wordsWithin(options), partWords)),
    Math.floor(contextTokens / 4),
  );
  let textTokens = contextTokens - outputTokens - promptTokens;
  const summary = new ModelSummaryRun(options, deps, outputTokens);
  for (;;) {
    try {
      return await summary.run(text, textTokens);
    } catch (error) {
      if (!(error instanceof ContextLengthError)) throw error;
      textTokens = Math.floor(Math.min(textTokens, estimateTokens(text)) / 2);
      if (textTokens >= leastTextTokens) continue;
      throw new SummaryError("LLM_REQUEST_REFUSED", "The context of the language model is too short for summaries.");
    }
  }
}

/** Some languages need several tokens for a word; models that think before they respond need more than they show. */
function outputTokensFor(words: number): number {
  return 1_000 + 6 * words;
}

class ModelSummaryRun {
  readonly #options: SummaryOptions;
  readonly #deps: ModelSummaryDeps;
  readonly #outputTokens: number;
  #percent = 0;

  constructor(options: SummaryOptions, deps: ModelSummaryDeps, outputTokens: number) {
    this.#options = options;
    this.#deps = deps;
    this.#outputTokens = outputTokens;
  }

  async run(text: string, textTokens: number): Promise<ModelSummary> {
    const { parts, omittedCharacters } = splitDocument(text, textTokens, maxDocumentParts);
    await this.#deps.model.requireTokens(this.#tokensFor(parts));
    if (parts.length === 1)
      return { ...(await this.#finish(parts[0]!, { kind: "document" }, text)), omittedCharacters };
    let texts = parts;
    for (let round = 0; texts.length > 1; round += 1) {
      if (round === maxRounds) throw new ContextLengthError("The summaries of the parts are too long.");
      texts = pack(await this.#summarizeParts(texts, round), textTokens);
    }
    return { ...(await this.#finish(texts[0]!, { kind: "summaries" }, text)), omittedCharacters };
  }

  async #summarizeParts(parts: readonly string[], round: number): Promise<string[]> {
    const task: Omit<Task, "of"> = { style: "paragraph", maxWords: partWords, language: null };
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#deps.signal, failed.signal]);
    const summaries: string[] = [];
    let next = 0;
    let done = 0;
    const work = async () => {
      while (next < parts.length) {
        const at = next;
        next += 1;
        const of = { kind: "part", number: at + 1, count: parts.length } as const;
        const { summary, keyPoints } = await this.#ask(parts[at]!, { ...task, of }, signal);
        summaries[at] = [cutToWords(summary, 2 * partWords), ...keyPoints.map((point) => `- ${point}`)].join("\n");
        done += 1;
        if (round === 0) this.#report(Math.floor((90 * done) / parts.length));
      }
    };
    const workers = Array.from({ length: Math.min(requestsAtOnce, parts.length) }, () =>
      work().catch((error) => failed.abort(error)),
    );
    await Promise.all(workers);
    failed.signal.throwIfAborted();
    return summaries;
  }

  async #finish(text: string, of: Task["of"], document: string): Promise<Draft> {
    const maxWords = wordsWithin(this.#options);
    const { style, language } = this.#options;
    const draft = await this.#ask(text, { style, language, maxWords, of }, this.#deps.signal);
    const summary = cutToWords(inStyle(plainText(draft.summary, document), style), maxWords);
    if (summary === "") throw invalidResponse();
    const keyPoints = draft.keyPoints.map((point) =>
      firstWords(plainText(point, document).replace(/^- /, "").replaceAll("\n", " "), maxKeyPointWords),
    );
    this.#report(100);
    return { summary, keyPoints: [...new Set(keyPoints)].filter((point) => point !== "").slice(0, maxKeyPoints) };
  }

  /** One more try when the response is not what was asked for. */
  async #ask(text: string, task: Task, signal: AbortSignal): Promise<Draft> {
    const { model } = this.#deps;
    const messages = promptFor(text, task, randomBytes(8).toString("hex"));
    const first = await model.ask(messages, this.#outputTokens, signal);
    let parsed = parseResponse(first.content);
    if (parsed === null) {
      const second = await model.ask(repairFor(messages, first.content, first.isCut), 2 * this.#outputTokens, signal);
      parsed = parseResponse(second.content);
    }
    if (parsed === null) throw invalidResponse();
    return {
      summary: parsed.summary,
      keyPoints: parsed.key_points.slice(0, maxKeyPoints).map((point) => point.slice(0, maxKeyPointLength)),
    };
  }

  #tokensFor(parts: readonly string[]): number {
    const texts = parts.reduce((sum, part) => sum + estimateTokens(part), 0);
    return texts + parts.length * this.#outputTokens;
  }

  #report(percent: number): void {
    if (percent <= this.#percent) return;
    this.#percent = percent;
    this.#deps.onProgress(percent);
  }
}

const maxRounds = 4;
/** As sent by a model, in UTF-16 code units. */
const maxKeyPointLength = 500;

/** Joins summaries to as few texts as fit. Each is shorter than what it summarizes, so that rounds end. */
function pack(summaries: readonly string[], maxTokens: number): string[] {
  const texts: string[] = [];
  for (const summary of summaries) {
    const joined = texts.length === 0 ? summary : `${texts.at(-1)}\n\n${summary}`;
    if (texts.length > 0 && estimateTokens(joined) <= maxTokens) texts[texts.length - 1] = joined;
    else texts.push(summary);
  }
  return texts;
}

function inStyle(text: string, style: SummaryOptions["style"]): string {
  if (style !== "bullets") return text;
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => (line.startsWith("- ") ? line : `- ${line}`)).join("\n");
}

function invalidResponse(): SummaryError {
  const message = "The language model did not respond with a summary in the form that was asked for.";
  return new SummaryError("LLM_RESPONSE_INVALID", message);
}
