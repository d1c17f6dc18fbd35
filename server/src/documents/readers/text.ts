import type { Facts, Source } from "../reader.ts";
import { charsetOf, decodeText } from "./decode.ts";
import { readWhole } from "./read-whole.ts";

/** Plain text, CSV, JSON and other text, as it is. */
export async function readText(source: Source): Promise<Facts> {
  append(source, decode(source));
  return {};
}

/** As it is; the title is the first heading. */
export async function readMarkdown(source: Source): Promise<Facts> {
  const text = decode(source);
  append(source, text);
  const [, hashed, underlined] =
    /^(?:#{1,6}[ \t]+(.+?)[ \t#]*|(\S.*)\r?\n=+[ \t]*)$/m.exec(text.slice(0, headingWithin)) ?? [];
  return { title: hashed ?? underlined };
}

const headingWithin = 20_000;
const pieceLength = 64 * 1024;

function decode(source: Source): string {
  return decodeText(readWhole(source), charsetOf(source.contentType));
}

function append({ output, progress }: Source, text: string): void {
  for (let at = 0; at < text.length; at += pieceLength) {
    output.append(text.slice(at, at + pieceLength));
    progress.alive();
  }
}
