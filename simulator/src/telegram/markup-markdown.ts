import { badRequest } from "./bot-error.ts";
import { type MarkedText, MarkupBuilder } from "./marked-text.ts";

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

/** Parses both Markdown modes; throws as the platform refuses. */
export function parseMarkdown(source: string, mode: Mode): MarkedText {
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

function cannotParse(reason: string): Error {
  return badRequest(`can't parse entities: ${reason}`);
}
