import { badRequest } from "./bot-error.ts";
import type { Entity, MarkedText } from "./marked-text.ts";
import { parseHtml } from "./markup-html.ts";
import { parseMarkdown } from "./markup-markdown.ts";

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
