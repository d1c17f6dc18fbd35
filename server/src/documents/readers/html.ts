import { Parser } from "htmlparser2";
import { maxDepth } from "../bounds.ts";
import { DocumentError } from "../document-error.ts";
import type { Facts, Source } from "../reader.ts";
import { charsetOf, decodeText } from "./decode.ts";
import { readWhole } from "./read-whole.ts";

export async function readHtml(source: Source): Promise<Facts> {
  const bytes = readWhole(source);
  const declared = charsetOf(source.contentType) ?? charsetOfMeta(bytes);
  return appendHtml(decodeText(bytes, declared), source);
}

/** Appends what a browser shows as text, a line for each block, with the cells of tables separated by tabs. */
export function appendHtml(html: string, { output, progress }: Pick<Source, "output" | "progress">): Facts {
  const titles = { title: "", h1: "" };
  let depth = 0;
  let skipped = 0;
  let preformatted = 0;
  let inTitle: keyof typeof titles | null = null;
  const parser = new Parser({
    onopentag(name) {
      depth += 1;
      if (depth > maxDepth) throw new DocumentError("DOCUMENT_CORRUPT", "The document is nested too deeply.");
      if (name === "title" || name === "h1") inTitle = titles[name] === "" ? name : null;
      if (notShown.has(name)) skipped += 1;
      else if (name === "pre") preformatted += 1;
      if (name === "br" && skipped === 0) output.newLine();
      else if (blocks.has(name)) output.endLine();
    },
    onclosetag(name) {
      depth -= 1;
      if (name === inTitle) inTitle = null;
      if (notShown.has(name)) skipped -= 1;
      else if (name === "pre") preformatted -= 1;
      if (name === "td" || name === "th") output.separate("\t");
      else if (blocks.has(name)) output.endLine();
    },
    ontext(text) {
      if (inTitle !== null && titles[inTitle].length < maxTitleTextLength) titles[inTitle] += text;
      if (skipped > 0) return;
      if (preformatted > 0) return output.append(text);
      if (/^\s/.test(text)) output.separate(" ");
      output.append(text.replaceAll(/\s+/g, " ").trim());
      if (/\s$/.test(text)) output.separate(" ");
    },
  });
  for (let at = 0; at < html.length; at += pieceLength) {
    parser.write(html.slice(at, at + pieceLength));
    progress.alive();
  }
  parser.end();
  output.endLine();
  return { title: titles.title.trim() || titles.h1.trim() || undefined };
}

const notShown = new Set([
  "head",
  "title",
  "script",
  "style",
  "template",
  "noscript",
  "svg",
  "iframe",
  "object",
  "select",
]);
const blocks = new Set(
  (
    "address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure footer form " +
    "h1 h2 h3 h4 h5 h6 header hr legend li main menu nav ol option p pre section summary table tbody tfoot thead tr ul"
  ).split(" "),
);
const maxTitleTextLength = 1_000;
const pieceLength = 64 * 1024;

/** `<meta charset="…">`, or the content type in a `<meta>`, as browsers look for it: near the beginning. */
function charsetOfMeta(bytes: Buffer): string | undefined {
  return /<meta\s[^>]*charset\s*=\s*["']?([\w-]+)/i.exec(bytes.subarray(0, 1024).toString("latin1"))?.[1];
}
