import { badRequest } from "./bot-error.ts";

/** Parses a text in one of the platform's three modes; throws `can't parse entities` as the platform does. */
export function parseMarkup(text: string, mode: string | undefined, entities: unknown): MarkedText {
  switch (mode?.toLowerCase() ?? "") {
    case "":
      return { text, entities: Array.isArray(entities) ? (entities as Entity[]) : [] };
    case "html":
      return parseHtml(text);
    case "markdown":
      return parseMarkdown(text, "legacy");
    case "markdownv2":
      return parseMarkdown(text, "v2");
    default:
      throw badRequest("unsupported parse_mode");
  }
}

/** A text without its marks; offsets and lengths count UTF-16 units. Source: Telegram Bot API, available methods. */
interface MarkedText {
  text: string;
  entities: Entity[];
}

interface Entity {
  type: string;
  offset: number;
  length: number;
  url?: string;
  language?: string;
}

class MarkupBuilder {
  text = "";
  readonly #entities: Entity[] = [];

  /** Notes an entity from `offset` to here; an empty one is left out. */
  close(offset: number, entity: Omit<Entity, "offset" | "length">): void {
    const length = this.text.length - offset;
    if (length > 0) this.#entities.push({ ...entity, offset, length });
  }

  done(): MarkedText {
    const entities = this.#entities.sort((a, b) => a.offset - b.offset || b.length - a.length);
    return { text: this.text, entities };
  }
}

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

const token = /<(\/?)([a-z-]*)([^>]*)(>?)|&(#\d{1,7}|#x[\da-f]{1,6}|lt|gt|amp|quot);|[^<&]+|&/giy;

function parseHtml(source: string): MarkedText {
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

type Mode = "legacy" | "v2";

/** Marks, the longest first, so that `__` is not read as two `_`. */
const marks: Record<Mode, [string, string][]> = {
  legacy: [
    ["*", "bold"],
    ["_", "italic"],
  ],
  v2: [
    ["__", "underline"],
    ["||", "spoiler"],
    ["*", "bold"],
    ["_", "italic"],
    ["~", "strikethrough"],
  ],
};

const reserved = "_*[]()~`>#+-=|{}.!";

function parseMarkdown(source: string, mode: Mode): MarkedText {
  const built = new MarkupBuilder();
  const open: { mark: string; type: string; offset: number; at: number }[] = [];
  let i = 0;
  while (i < source.length) {
    const sign = source[i]!;
    const block = sign === "`" || sign === "[" ? readBlock(source, i) : undefined;
    const mark = marks[mode].find(([text]) => source.startsWith(text, i));
    if (sign === "\\" && reserved.concat("\\").includes(source[i + 1] ?? " ")) {
      built.text += source[i + 1];
      i += 2;
    } else if (block) {
      const offset = built.text.length;
      built.text += block.text;
      built.close(offset, block.entity);
      i = block.end;
    } else if (mark) {
      const [text, type] = mark;
      const last = open.at(-1);
      if (last?.mark === text) built.close(open.pop()!.offset, { type: last.type });
      else open.push({ mark: text, type, offset: built.text.length, at: i });
      i += text.length;
    } else {
      if (mode === "v2" && reserved.includes(sign)) {
        throw cannotParse(`Character '${sign}' is reserved and must be escaped with the preceding '\\'`);
      }
      built.text += sign;
      i += 1;
    }
  }
  const left = open.pop();
  if (left) throw cannotParse(unclosed(source, left.at));
  return built.done();
}

interface Block {
  text: string;
  entity: { type: string; url?: string; language?: string };
  end: number;
}

/** Code, a code block or a link: nothing inside is a mark. */
function readBlock(source: string, at: number): Block | undefined {
  if (source[at] === "[") {
    const link = /^\[([^\]]*)\]\(([^)\s]*)\)/.exec(source.slice(at));
    if (!link) return undefined;
    return { text: link[1]!, entity: { type: "text_link", url: link[2]! }, end: at + link[0].length };
  }
  const fence = source.startsWith("```", at) ? "```" : "`";
  const end = source.indexOf(fence, at + fence.length);
  if (end < 0) throw cannotParse(unclosed(source, at));
  const inside = source.slice(at + fence.length, end).replace(/\\([`\\])/g, "$1");
  const language = fence === "```" ? /^(\w+)\n/.exec(inside)?.[1] : undefined;
  const text = fence === "```" ? inside.slice(language?.length ?? 0).replace(/^\n/, "") : inside;
  const type = fence === "```" ? "pre" : "code";
  return { text, entity: language === undefined ? { type } : { type, language }, end: end + fence.length };
}

function unclosed(source: string, at: number): string {
  return `Can't find end of the entity starting at byte offset ${Buffer.byteLength(source.slice(0, at))}`;
}
