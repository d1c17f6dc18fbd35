import { maxKeyPointWords, type SummaryStyle } from "./summary-options.ts";
import { firstWords, sentencesOf } from "./words.ts";

export interface ExtractiveSummary {
  summary: string;
  keyPoints: string[];
}

export interface ExtractiveOptions {
  style: SummaryStyle;
  maxWords: number;
  /** Of the text, an ISO 639-1 code. */
  language: string | null;
}

/**
 * The sentences of a text that say most of it, in the order of the text: LexRank (Erkan and Radev, 2004) over sentences
 * as vectors of stems, without sentences that repeat a chosen one. The same text gives the same summary. Takes up to
 * some seconds of CPU for 16 MiB: see `extractInThread`.
 */
export function extractSummary(text: string, options: ExtractiveOptions): ExtractiveSummary {
  const sentences = keySentences(text, options.language);
  if (sentences.length === 0) return { summary: beginningOf(text, options.maxWords), keyPoints: [] };
  const ranked = rank(sentences);
  const chosen = choose(
    ranked,
    options.maxWords,
    options.style === "brief" ? maxBriefSentences : Number.POSITIVE_INFINITY,
  );
  const lines = chosen.map((sentence) => sentence.text);
  const summary = options.style === "bullets" ? lines.map((line) => `- ${line}`).join("\n") : lines.join(" ");
  const points = ranked.slice(0, Math.min(mostKeyPoints, Math.ceil(ranked.length / 3)));
  return {
    summary,
    keyPoints: points.toSorted(inOrder).map((sentence) => firstWords(sentence.text, maxKeyPointWords)),
  };
}

const maxBriefSentences = 2;
const mostKeyPoints = 5;

interface Sentence {
  /** Its position among the others, from 0. */
  index: number;
  text: string;
  words: number;
  stems: Map<string, number>;
}

const inOrder = (a: Sentence, b: Sentence) => a.index - b.index;

/**
 * At most `maxRanked` sentences, in order: of each part of the text those that have most in common with all of the part.
 * Reading part by part bounds the memory.
 */
function keySentences(text: string, language: string | null): Sentence[] {
  const partLength = Math.max(leastPartLength, Math.ceil(text.length / maxParts));
  const parts = Math.ceil(text.length / partLength);
  const kept: Sentence[] = [];
  const seen = new Set<string>();
  for (let start = 0; start < text.length; ) {
    const end = endOfPart(text, start + partLength);
    const best = mostCentral(readSentences(text.slice(start, end), language, seen), Math.floor(maxRanked / parts));
    for (const sentence of best) kept.push({ ...sentence, index: kept.length });
    start = end;
  }
  return kept;
}

/** Ranking takes time and memory by the square of this. */
const maxRanked = 1_000;
const maxParts = 50;
/** In UTF-16 code units. */
const leastPartLength = 64 * 1024;

/** After the next line break, if it is near. */
function endOfPart(text: string, near: number): number {
  const lineBreak = text.indexOf("\n", near);
  return lineBreak !== -1 && lineBreak - near < leastPartLength ? lineBreak + 1 : Math.min(near, text.length);
}

/** What says something: not headings, rows of numbers, greetings and sentences that repeat an earlier one. */
function readSentences(text: string, language: string | null, seen: Set<string>): Sentence[] {
  const sentences: Sentence[] = [];
  for (const paragraph of paragraphsOf(text)) {
    for (const raw of sentencesOf(paragraph, language)) {
      const sentence = raw.trim().replace(listMark, "");
      if (sentence.length > maxSentenceLength || seen.has(sentence) || !isStatement(sentence)) continue;
      seen.add(sentence);
      const words = sentence.toLowerCase().match(word) ?? [];
      if (words.length < leastWords) continue;
      sentences.push({ index: sentences.length, text: sentence, words: words.length, stems: countStems(words) });
    }
  }
  return sentences;
}

/**
 * Characters of scripts that are written without spaces count as words. `Intl.Segmenter` would know better, but each of
 * its texts takes native memory that is freed late.
 */
const word = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}]+/gu;
const leastWords = 5;
/** In UTF-16 code units. */
const maxSentenceLength = 1_000;
const listMark = /^(?:[-*•·–]|\(?\d{1,3}[.)]|\(?[a-z]\))\s+/;

/** Joins the lines that a page or a mail client has broken. */
function* paragraphsOf(text: string): Iterable<string> {
  let paragraph = "";
  let last = "";
  for (const line of text.split("\n")) {
    const isContinued =
      last.length >= leastBrokenLine &&
      !/[.!?:;。！？]$/.test(last) &&
      line.trim() !== "" &&
      !listMark.test(line.trim());
    if (!isContinued && paragraph !== "") {
      yield paragraph;
      paragraph = "";
    }
    last = line.trim();
    paragraph = paragraph.endsWith("-") ? paragraph.slice(0, -1) + last : `${paragraph} ${last}`.trim();
  }
  if (paragraph !== "") yield paragraph;
}

const leastBrokenLine = 40;

function isStatement(sentence: string): boolean {
  if (!/[.!;…。！]["”»')\]]*$/.test(sentence)) return false;
  const letters = sentence.match(/\p{L}/gu)?.length ?? 0;
  return letters >= sentence.length * leastLetters;
}

const leastLetters = 0.55;

/** A stem is the beginning of a word, which suits inflected languages well enough and needs no data for each. */
function countStems(words: readonly string[]): Map<string, number> {
  const stems = new Map<string, number>();
  for (const word of words) {
    const stem = word.slice(0, stemLength);
    stems.set(stem, (stems.get(stem) ?? 0) + 1);
  }
  return stems;
}

const stemLength = 6;

function mostCentral(sentences: readonly Sentence[], most: number): readonly Sentence[] {
  if (sentences.length <= most) return sentences;
  const weightOf = weigh(sentences);
  const inAll = new Map<string, number>();
  for (const { stems } of sentences) {
    for (const stem of stems.keys()) inAll.set(stem, (inAll.get(stem) ?? 0) + weightOf(stem));
  }
  const scores = sentences.map(({ stems }) => {
    let score = 0;
    for (const stem of stems.keys()) score += inAll.get(stem)!;
    return score / Math.sqrt(stems.size);
  });
  return sentences
    .toSorted((a, b) => scores[b.index]! - scores[a.index]! || inOrder(a, b))
    .slice(0, most)
    .toSorted(inOrder);
}

/** What a stem is worth: little when most sentences have it, so that no list of stop words is needed. */
function weigh(sentences: readonly Sentence[]): (stem: string) => number {
  const counts = new Map<string, number>();
  for (const { stems } of sentences) for (const stem of stems.keys()) counts.set(stem, (counts.get(stem) ?? 0) + 1);
  return (stem) => Math.log((sentences.length + 1) / (counts.get(stem)! + 0.5));
}

/** For texts without sentences, such as tables. */
function beginningOf(text: string, maxWords: number): string {
  return firstWords(text.slice(0, maxBeginning).trim().replaceAll(/\s+/g, " "), maxWords);
}

const maxBeginning = 64 * 1024;

interface Ranked extends Sentence {
  vector: ReadonlyMap<string, number>;
}

/** Most important first; what repeats a better one comes last. */
function rank(sentences: readonly Sentence[]): Ranked[] {
  const weights = weigh(sentences);
  const vectors = sentences.map(({ stems }) => unitVector(stems, weights));
  const scores = lexRank(sentences, similarities(vectors));
  const left = sentences.map((sentence, at) => ({
    ...sentence,
    vector: vectors[at]!,
    score: scores[at]! * numeralBonus(sentence),
    overlap: 0,
  }));
  const ranked: Ranked[] = [];
  while (left.length > 0) {
    let best = 0;
    for (let at = 1; at < left.length; at += 1) if (worthOf(left[at]!) > worthOf(left[best]!)) best = at;
    const [chosen] = left.splice(best, 1) as [(typeof left)[number]];
    ranked.push(chosen);
    if (ranked.length > maxSpread) return [...ranked, ...left.toSorted((a, b) => b.score - a.score || inOrder(a, b))];
    for (const other of left) other.overlap = Math.max(other.overlap, cosine(other.vector, chosen.vector));
  }
  return ranked;
}

/** Sums, dates and counts are mostly what a reader must know. */
function numeralBonus({ text }: Sentence): number {
  return /\d/.test(text) ? 1.5 : 1;
}

/** Beyond it, sentences are no longer compared with the chosen ones. A summary has fewer. */
const maxSpread = 200;

function worthOf({ score, overlap }: { score: number; overlap: number }): number {
  return score * (1 - overlap);
}

function unitVector(stems: ReadonlyMap<string, number>, weightOf: (stem: string) => number): Map<string, number> {
  const vector = new Map([...stems].map(([stem, count]) => [stem, count * weightOf(stem)]));
  const length = Math.sqrt([...vector.values()].reduce((sum, value) => sum + value * value, 0)) || 1;
  for (const [stem, value] of vector) vector.set(stem, value / length);
  return vector;
}

function cosine(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [stem, value] of a) sum += value * (b.get(stem) ?? 0);
  return sum;
}

/** Of each pair, row by row. */
function similarities(vectors: readonly ReadonlyMap<string, number>[]): Float32Array[] {
  const rows = vectors.map(() => new Float32Array(vectors.length));
  const byStem = new Map<string, { at: number; value: number }[]>();
  for (const [at, vector] of vectors.entries()) {
    for (const [stem, value] of vector) {
      const others = byStem.get(stem) ?? [];
      for (const other of others) rows[at]![other.at]! += value * other.value;
      others.push({ at, value });
      byStem.set(stem, others);
    }
  }
  for (let row = 0; row < rows.length; row += 1) {
    for (let column = 0; column < row; column += 1) rows[column]![row] = rows[row]![column]!;
  }
  return rows;
}

/** The share of the time of a random reader at each sentence, who continues with a similar one or starts again near the beginning. */
function lexRank(sentences: readonly Sentence[], rows: readonly Float32Array[]): Float64Array {
  const count = sentences.length;
  const starts = sentences.map((_, at) => 1 + leadWeight / (1 + at));
  const allStarts = starts.reduce((sum, value) => sum + value, 0);
  const sums = rows.map((row) => row.reduce((sum, value) => sum + value, 0) || 1);
  let scores = new Float64Array(count).fill(1 / count);
  for (let round = 0; round < rounds; round += 1) {
    const next = Float64Array.from(starts, (start) => ((1 - damping) * start) / allStarts);
    for (let from = 0; from < count; from += 1) {
      const share = (damping * scores[from]!) / sums[from]!;
      const row = rows[from]!;
      for (let to = 0; to < count; to += 1) next[to]! += share * row[to]!;
    }
    scores = next;
  }
  return scores;
}

const damping = 0.85;
const rounds = 30;
/** How much more the first sentence counts than one far behind it. */
const leadWeight = 1;

function choose(ranked: readonly Ranked[], maxWords: number, maxSentences: number): Sentence[] {
  const chosen: Sentence[] = [];
  let words = 0;
  for (const sentence of ranked) {
    if (chosen.length === maxSentences) break;
    if (words + sentence.words > maxWords) continue;
    chosen.push(sentence);
    words += sentence.words;
  }
  if (chosen.length === 0) return [{ ...ranked[0]!, text: firstWords(ranked[0]!.text, maxWords) }];
  return chosen.toSorted(inOrder);
}
