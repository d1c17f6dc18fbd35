import { badRequest } from "./bot-error.ts";
import { type MarkedText, MarkupBuilder } from "./marked-text.ts";

const types: Record<string, string> = {
  b: "bold",
  strong: "bold",
  i: "italic",
  em: "italic",
  u: "underline",
  ins: "underline",
  s: "strikethrough",
  strike: "strikethrough",
  del: "strikethrough",
  "tg-spoiler": "spoiler",
  blockquote: "blockquote",
  code: "code",
  pre: "pre",
  a: "text_link",
};

const named: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"' };

/** A tag, a character reference, or anything else up to the next of these. */
const token = /<(\/?)([a-z-]*)([^>]*)(>?)|&(#\d{1,7}|#x[\da-f]{1,6}|lt|gt|amp|quot);|[^<&]+|&/giy;

/** Parses the platform's HTML mode; throws as the platform refuses. */
export function parseHtml(source: string): MarkedText {
  const built = new MarkupBuilder();
  const open: { tag: string; offset: number; attributes: string }[] = [];
  for (const found of source.matchAll(token)) {
    const [whole, slash, name = "", attributes = "", closed, reference] = found;
    if (reference !== undefined) built.text += character(reference.toLowerCase());
    else if (!whole.startsWith("<")) built.text += whole;
    else {
      const tag = name.toLowerCase();
      const at = byteOffset(source, found.index);
      if (closed !== ">") throw cannotParse(`Unclosed start tag at byte offset ${at}`);
      if (slash === "/") {
        const start = open.pop();
        if (!start) throw cannotParse(`Unexpected end tag at byte offset ${at}`);
        if (start.tag !== tag) {
          throw cannotParse(`Unmatched end tag at byte offset ${at}, expected "</${start.tag}>", found "</${tag}>"`);
        }
        closeTag(built, start);
      } else {
        if (!Object.hasOwn(types, tag)) throw cannotParse(`Unsupported start tag "${tag}" at byte offset ${at}`);
        open.push({ tag, offset: built.text.length, attributes });
      }
    }
  }
  const left = open.pop();
  if (left) throw cannotParse(`Can't find end tag corresponding to start tag "${left.tag}"`);
  return built.done();
}

function closeTag(
  built: MarkupBuilder,
  { tag, offset, attributes }: { tag: string; offset: number; attributes: string },
) {
  const url = tag === "a" ? /href\s*=\s*["']?([^"'\s>]+)/i.exec(attributes)?.[1] : undefined;
  if (tag === "a" && url === undefined) return;
  built.close(offset, url === undefined ? { type: types[tag]! } : { type: "text_link", url });
}

function character(reference: string): string {
  if (!reference.startsWith("#")) return named[reference]!;
  const code = reference.startsWith("#x") ? Number.parseInt(reference.slice(2), 16) : Number(reference.slice(1));
  return code >= 1 && code <= 0x10ffff ? String.fromCodePoint(code) : "";
}

function byteOffset(source: string, index: number): number {
  return Buffer.byteLength(source.slice(0, index));
}

function cannotParse(reason: string): Error {
  return badRequest(`can't parse entities: ${reason}`);
}
