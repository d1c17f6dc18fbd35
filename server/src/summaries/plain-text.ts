/**
 * What a language model wrote, as plain text: without Markdown, HTML and invisible characters, and without links that
 * the document does not have, so that neither the model nor a document can make people open a URL that the other did not
 * mean. A removed link leaves an ellipsis.
 */
export function plainText(written: string, document: string): string {
  let text = withoutInvisible(written.slice(0, maxLength));
  for (const [pattern, replacement] of markup) text = replaceAllDeep(text, pattern, replacement);
  text = text.replaceAll(/<(?=[a-z/!?])/gi, "");
  text = text.replaceAll(link, (found) => {
    const [url] = found.split(/[.,;:!?'"”»)\]}>]+$/) as [string];
    return hasLink(document, url) ? found : `…${found.slice(url.length)}`;
  });
  return text
    .replaceAll(/[^\S\n]+/g, " ")
    .replaceAll(/ ?\n ?/g, "\n")
    .replaceAll(/\n{3,}/g, "\n\n")
    .trim();
}

/** Also what a model reads and people do not see: tags, variation selectors, directions of text. */
export function withoutInvisible(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(invisible, "").toWellFormed();
}

/** In UTF-16 code units. */
const maxLength = 20_000;

const invisible =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it finds
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

/** Lengths are bounded so that hostile text takes no quadratic time. */
const markup: [RegExp, string][] = [
  [/<\/?[a-z!?][^<>]{0,2000}>/gi, ""],
  [/^\s{0,3}\[[^\]\n]{1,200}\]:.*$/gm, ""],
  [/!?\[([^[\]]{0,500})\]\([^()]{0,2000}(?:\([^()]{0,500}\)[^()]{0,500})?\)/g, "$1"],
  [/!?\[([^[\]]{0,500})\]\[[^[\]]{0,200}\]/g, "$1"],
  [/^[^\S\n]*(?:```|~~~).*\n?/gm, ""],
  [/^#{1,6}\s+/gm, ""],
  [/^[^\S\n]*[*•][^\S\n]+/gm, "- "],
  [/\*\*|`/g, ""],
];

/** What is left can match again. */
function replaceAllDeep(text: string, pattern: RegExp, replacement: string): string {
  for (let round = 0; round < maxRounds; round += 1) {
    const next = text.replaceAll(pattern, replacement);
    if (next === text) break;
    text = next;
  }
  return text;
}

const maxRounds = 10;

const scheme = String.raw`[a-z][a-z0-9+.-]{0,30}:\/\/\S+`;
const opaque = String.raw`(?:javascript|data|vbscript|mailto|tel|sms|file|blob|intent|callto):\S+`;
/** Also email addresses; with any top-level domain, as messengers recognise links. */
const host = String.raw`(?:[\p{L}\p{N}._%+-]{1,64}@)?(?:[\p{L}\p{N}_-]{1,63}\.)+\p{L}{2,63}(?::\d{1,5})?(?:[/?#]\S*)?`;
const link = new RegExp(String.raw`(?<![\p{L}\p{N}])(?:${scheme}|${opaque}|${host})`, "giu");

/** Whether it stands in the document as a whole, or as the beginning of a longer link. */
function hasLink(document: string, url: string): boolean {
  for (let at = document.indexOf(url); at !== -1; at = document.indexOf(url, at + 1)) {
    const before = document.slice(Math.max(0, at - 2), at);
    const after = document.slice(at + url.length, at + url.length + 3);
    if (!/[\p{L}\p{N}@._-]$/u.test(before) && !/^(?:[\p{L}\p{N}_-]|[.@:]+[\p{L}\p{N}])/u.test(after)) return true;
  }
  return false;
}
