import type { Archive } from "../archive.ts";
import type { Source } from "../reader.ts";
import type { TextOutput } from "../text-output.ts";
import { attribute, readXml } from "../xml.ts";
import { readRelations } from "./relations.ts";

/** The body, then the footnotes and endnotes. Returns the first heading. */
export async function readDocx(archive: Archive, main: string, source: Source): Promise<string | undefined> {
  const relations = await readRelations(archive, main);
  const notes = relations.filter(({ type, target }) => /\/(foot|end)notes$/.test(type) && archive.has(target));
  const parts = [main, ...notes.map(({ target }) => target)];
  let heading: string | undefined;
  for (const [index, part] of parts.entries()) {
    source.progress.set(index, parts.length);
    const first = await readParagraphs(archive.read(part), source.output);
    heading ??= first;
  }
  return heading;
}

/** Cells of a table are separated by tabs, and their paragraphs by spaces. */
async function readParagraphs(chunks: AsyncIterable<string>, output: TextOutput): Promise<string | undefined> {
  let isText = false;
  let fallbacks = 0;
  let properties = 0;
  let cells = 0;
  let heading: string | undefined;
  let isHeading = false;
  let headingText = "";
  const append = (text: string) => {
    output.append(text);
    if (isHeading && headingText.length < maxHeadingLength) headingText += text;
  };
  await readXml(chunks, {
    open(name, attributes) {
      if (name === "Fallback") fallbacks += 1;
      else if (name === "pPr") properties += 1;
      else if (name === "tc") cells += 1;
      else if (fallbacks > 0) return;
      else if (name === "pStyle" && heading === undefined) {
        isHeading = /^(title|heading ?1|ttulo1?|titel)$/i.test(attribute(attributes, "val") ?? "");
      } else if (properties > 0) return;
      else if (name === "t") isText = true;
      else if (name === "tab") append("\t");
      else if (name === "br" || name === "cr") append(cells > 0 ? " " : "\n");
    },
    close(name) {
      if (name === "Fallback") fallbacks -= 1;
      else if (name === "pPr") properties -= 1;
      else if (name === "t") isText = false;
      else if (fallbacks > 0) return;
      else if (name === "p") {
        if (isHeading && headingText.trim() !== "") heading ??= headingText;
        isHeading = false;
        headingText = "";
        if (cells > 0) output.separate(" ");
        else output.newLine();
      } else if (name === "tc") {
        cells -= 1;
        output.separate(cells > 0 ? " " : "\t");
      } else if (name === "tr" && cells === 0) output.endLine();
    },
    text: (text) => {
      if (isText && fallbacks === 0) append(text);
    },
  });
  output.endLine();
  return heading;
}

const maxHeadingLength = 1_000;
