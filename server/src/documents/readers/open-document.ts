import type { Archive } from "../archive.ts";
import { DocumentError } from "../document-error.ts";
import type { Facts, Source } from "../reader.ts";
import { attribute, readXml } from "../xml.ts";
import { readTitle } from "./title.ts";

/** ODT, ODS and ODP: one part has all text, with the same elements. */
export async function readOpenDocument(archive: Archive, { output, progress }: Source): Promise<Facts> {
  await refuseEncrypted(archive);
  progress.set(0, 1);
  const isSpreadsheet = /spreadsheet/.test(await first(archive.read("mimetype")));
  let heading: string | undefined;
  let headingText: string | null = null;
  let paragraphs = 0;
  let cells = 0;
  let skipped = 0;
  const append = (text: string) => {
    if (skipped > 0 || paragraphs === 0) return;
    output.append(text);
    if (headingText !== null && headingText.length < maxHeadingLength) headingText += text;
  };
  await readXml(archive.read("content.xml"), {
    open(name, attributes) {
      if (notText.has(name)) skipped += 1;
      if (skipped > 0) return;
      if (name === "p" || name === "h") {
        paragraphs += 1;
        if (name === "h" && heading === undefined) headingText = "";
      } else if (name === "s") append(" ".repeat(Math.min(Number(attribute(attributes, "c") ?? 1), maxSpaces)));
      else if (name === "tab") append("\t");
      else if (name === "line-break") append(cells > 0 ? " " : "\n");
      else if (name === "table-cell") cells += 1;
      else if (name === "table" && isSpreadsheet) output.mark("sheet", attribute(attributes, "name"));
      else if (name === "page" && attribute(attributes, "master-page-name") !== undefined) {
        output.mark("slide", attribute(attributes, "name"));
      }
    },
    close(name) {
      if (notText.has(name)) skipped -= 1;
      else if (skipped > 0) return;
      else if (name === "p" || name === "h") {
        paragraphs -= 1;
        if (headingText !== null && headingText.trim() !== "") heading ??= headingText;
        headingText = null;
        if (cells > 0) output.separate(" ");
        else output.newLine();
      } else if (name === "table-cell") {
        cells -= 1;
        output.separate("\t");
      } else if (name === "table-row" && cells === 0) output.endLine();
    },
    text: append,
  });
  return { title: (await readTitle(archive, "meta.xml")) ?? heading };
}

/** Comments, deleted text, notes of the speaker. */
const notText = new Set(["annotation", "tracked-changes", "notes"]);
const maxHeadingLength = 1_000;
const maxSpaces = 100;

async function refuseEncrypted(archive: Archive): Promise<void> {
  if (!archive.has("META-INF/manifest.xml")) return;
  await readXml(archive.read("META-INF/manifest.xml"), {
    open(name) {
      if (name === "encryption-data") {
        throw new DocumentError("DOCUMENT_ENCRYPTED", "The document is protected by a password.");
      }
    },
  });
}

async function first(chunks: AsyncIterable<string>): Promise<string> {
  for await (const chunk of chunks) return chunk;
  return "";
}
