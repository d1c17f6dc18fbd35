import { readSync } from "node:fs";
import { Archive } from "../archive.ts";
import { DocumentError } from "../document-error.ts";
import { isCompoundFile } from "../kinds.ts";
import type { Facts, Source } from "../reader.ts";
import { readDocx } from "./docx.ts";
import { readOpenDocument } from "./open-document.ts";
import { readPptx } from "./pptx.ts";
import { readRelations } from "./relations.ts";
import { readTitle } from "./title.ts";
import { readXlsx } from "./xlsx.ts";

/** OOXML (DOCX, XLSX, PPTX) and OpenDocument (ODT, ODS, ODP): archives of XML, read as streams. */
export async function readOffice(source: Source): Promise<Facts> {
  refuseCompoundFile(source);
  const archive = await Archive.open(source.fd, () => source.progress.alive());
  if (archive.has("content.xml") && archive.has("mimetype")) return readOpenDocument(archive, source);
  if (!archive.has("[Content_Types].xml")) throw notOffice();
  const relations = await readRelations(archive, "");
  const main = relations.find(({ type }) => type.endsWith("/officeDocument"))?.target ?? "";
  const read = readers[main.split("/", 1)[0]!];
  if (read === undefined) throw notOffice();
  const heading = await read(archive, main, source);
  const properties = relations.find(({ type }) => type.endsWith("/core-properties"))?.target;
  return { title: (await readTitle(archive, properties)) ?? heading };
}

/** By the folder of the main part. Each returns the first heading. */
const readers: Readonly<
  Record<string, (archive: Archive, main: string, source: Source) => Promise<string | undefined>>
> = { word: readDocx, xl: readXlsx, ppt: readPptx };

/** Microsoft's older formats are compound files, and so is an encrypted OOXML document. */
function refuseCompoundFile({ fd, sizeBytes }: Source): void {
  const head = Buffer.alloc(Math.min(sizeBytes, searchedBytes));
  const tail = Buffer.alloc(head.length);
  readSync(fd, head, 0, head.length, 0);
  if (!isCompoundFile(head)) return;
  readSync(fd, tail, 0, tail.length, sizeBytes - tail.length);
  const name = Buffer.from("EncryptedPackage", "utf16le");
  if (head.includes(name) || tail.includes(name)) {
    throw new DocumentError("DOCUMENT_ENCRYPTED", "The document is protected by a password.");
  }
  throw new DocumentError(
    "DOCUMENT_TYPE_UNSUPPORTED",
    "The document has an older format of Microsoft Office: save it as DOCX, XLSX or PPTX.",
  );
}

/** The directory of a compound file is near its beginning or its end. */
const searchedBytes = 1024 * 1024;

function notOffice(): DocumentError {
  return new DocumentError("DOCUMENT_TYPE_UNSUPPORTED", "The file is an archive, not a document.");
}
