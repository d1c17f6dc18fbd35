const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** As Unicode finds them, so also in languages that are written without spaces. */
export function countWords(text: string): number {
  let words = 0;
  for (const { isWordLike } of segmenter.segment(text)) if (isWordLike) words += 1;
  return words;
}

/** The whole lines and sentences at the beginning of a text that have at most `maxWords` words; a first sentence that has more is cut. */
export function cutToWords(text: string, maxWords: number): string {
  if (countWords(text) <= maxWords) return text;
  let kept = "";
  let words = 0;
  for (const sentence of sentencesOf(text, null)) {
    words += countWords(sentence);
    if (words > maxWords) break;
    kept += sentence;
  }
  return kept.trim() === "" ? firstWords(text, maxWords) : kept.trim();
}

export function firstWords(text: string, maxWords: number): string {
  let words = 0;
  for (const { index, isWordLike } of segmenter.segment(text)) {
    if (isWordLike) words += 1;
    if (words > maxWords) return `${text.slice(0, index).trimEnd()}…`;
  }
  return text;
}

/** The sentences of a text in a language (an ISO 639-1 code), with the space after each: together they are the text. */
export function sentencesOf(text: string, language: string | null): string[] {
  const sentences: string[] = [];
  let pending = "";
  for (const { segment } of sentenceSegmenter(language).segment(text)) {
    pending += segment;
    if (abbreviation.test(pending) && !pending.endsWith("\n")) continue;
    sentences.push(pending);
    pending = "";
  }
  if (pending !== "") sentences.push(pending);
  return sentences;
}

/** Node.js has no list of abbreviations. These stand before a name or a number, so they do not end a sentence. */
const abbreviation =
  /(?:^|[\s(“"'])(?:Mr|Mrs|Ms|Dr|Dra|Prof|Profa|Sr|Sra|Srta|St|Gen|Col|Cap|Eng|Exmo|Ilmo|[Aa]rts?|[Nn]o|[Nn]º|[Nn]r|[Nn]|[Ff]ig|[Ss]ec|[Vv]ol|[Pp]p?|[Pp]ág|[Vv]s|[Aa]pprox|e\.g|i\.e|cf|Av|[A-Z])\.\s+$/;

const segmenters = new Map<string, Intl.Segmenter>();

function sentenceSegmenter(language: string | null): Intl.Segmenter {
  const locale = language !== null && isLocale(language) ? language : "und";
  let known = segmenters.get(locale);
  if (known === undefined) {
    known = new Intl.Segmenter(locale, { granularity: "sentence" });
    if (segmenters.size < maxSegmenters) segmenters.set(locale, known);
  }
  return known;
}

const maxSegmenters = 50;

function isLocale(language: string): boolean {
  try {
    return Intl.Segmenter.supportedLocalesOf(language).length > 0;
  } catch {
    return false;
  }
}
