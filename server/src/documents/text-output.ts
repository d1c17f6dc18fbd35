import { maxPages, maxTextBytes, maxTitleLength } from "./bounds.ts";
import { DocumentError } from "./document-error.ts";
import type { TextMark } from "./process-message.ts";

/** Receives the text of a document piece by piece, counts its words, and notes where pages start. */
export class TextOutput {
  readonly marks: TextMark[] = [];
  /** The beginning of the text, to detect its language. */
  sample = "";
  words = 0;
  readonly #write: (text: string) => void;
  #pending = "";
  /** The last character before `#pending`. */
  #last = "\n";
  #separator = "";
  #length = 0;
  #bytes = 0;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** Throws DOCUMENT_TOO_LARGE beyond `maxTextBytes`. Control characters, except tabs and line breaks, are dropped. */
  append(text: string): void {
    if (text === "") return;
    if (this.#separator !== "" && this.#lastCharacter !== "\n") this.#pending += this.#separator;
    this.#separator = "";
    this.#pending += text;
    while (this.#pending.length >= maxPendingLength) this.#flush(maxPendingLength);
  }

  /** Separates what follows on the same line, if anything does. A tab, between cells, prevails over a space. */
  separate(separator: " " | "\t"): void {
    if (this.#separator !== "\t") this.#separator = separator;
  }

  newLine(): void {
    this.#separator = "";
    this.append("\n");
  }

  /** Ends the line, unless it is empty. */
  endLine(): void {
    if (this.#lastCharacter !== "\n") this.newLine();
    this.#separator = "";
  }

  /** Starts a page, sheet or slide. */
  mark(kind: TextMark["kind"], title?: string): TextMark {
    if (this.marks.length === maxPages) {
      throw new DocumentError("DOCUMENT_TOO_LARGE", `The document has more than ${maxPages} ${kind}s.`);
    }
    this.endLine();
    this.#flush(this.#pending.length);
    const mark: TextMark = { kind, number: this.marks.length + 1, offset: this.#length };
    if (title !== undefined) mark.title = shortTitle(title);
    this.marks.push(mark);
    return mark;
  }

  end(): void {
    this.#flush(this.#pending.length);
  }

  get #lastCharacter(): string {
    return this.#pending.at(-1) ?? this.#last;
  }

  #flush(length: number): void {
    const end = length < this.#pending.length ? lastBreak(this.#pending, length) : length;
    const text = clean(this.#pending.slice(0, end));
    this.#pending = this.#pending.slice(end);
    if (text === "") return;
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes > maxTextBytes) {
      const limit = `${maxTextBytes / 1024 / 1024} MiB`;
      throw new DocumentError("DOCUMENT_TOO_LARGE", `The document has more than ${limit} of text.`);
    }
    this.#length += text.length;
    this.#last = text.at(-1)!;
    this.words += countWords(text);
    if (this.sample.length < sampleLength) this.sample += text.slice(0, sampleLength - this.sample.length);
    this.#write(text);
  }
}

/** The first line with text, at most `maxTitleLength` characters. Undefined when there is none. */
export function shortTitle(text: string): string | undefined {
  const line = clean(text).trim().replaceAll(/\s+/g, " ");
  if (line === "") return undefined;
  return line.length > maxTitleLength ? `${line.slice(0, maxTitleLength - 1).trimEnd()}…`.toWellFormed() : line;
}

const maxPendingLength = 64 * 1024;
const sampleLength = 5_000;
const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

function countWords(text: string): number {
  let words = 0;
  for (const { isWordLike } of segmenter.segment(text)) if (isWordLike) words += 1;
  return words;
}

/** Where to cut a text near `length`: after the last space, so that no word is counted twice, and not within a pair. */
function lastBreak(text: string, length: number): number {
  const space = Math.max(text.lastIndexOf(" ", length - 1), text.lastIndexOf("\n", length - 1)) + 1;
  if (space > 0) return space;
  const isPair = text.charCodeAt(length - 1) >= 0xd800 && text.charCodeAt(length - 1) < 0xdc00;
  return isPair ? length - 1 : length;
}

/** What databases and JSON cannot hold, or people cannot see. */
function clean(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(controlCharacters, "").toWellFormed();
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it finds
const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f\ufeff]/g;
