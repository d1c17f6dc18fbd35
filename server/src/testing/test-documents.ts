/** Documents for tests, made by hand: honest ones, and such that lie about themselves. */
import { crc32, deflateRawSync, deflateSync } from "node:zlib";

interface ZipEntry {
  name: string;
  content: string | Buffer;
  /** What the directory says instead of the truth, in bytes. */
  claimedSize?: number;
  isEncrypted?: boolean;
}

export function makeZip(entries: readonly ZipEntry[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, claimedSize, isEncrypted = false } of entries) {
    const plain = Buffer.from(content);
    const packed = deflateRawSync(plain);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(isEncrypted ? 1 : 0, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(plain), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(claimedSize ?? plain.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), packed]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from("PK\x01\x02\x14\x00"), common, rest, Buffer.from(name));
    files.push(local);
    offset += local.length;
  }
  return Buffer.concat([
    ...files,
    ...directory,
    endOfDirectory(entries.length, Buffer.concat(directory).length, offset),
  ]);
}

/** A ZIP file whose `count` entries all are the same bytes. */
export function makeOverlappingZip(name: string, content: Buffer, count: number): Buffer {
  const single = makeZip([{ name, content }]);
  const directoryLength = 46 + Buffer.byteLength(name);
  const file = single.subarray(0, single.length - 22 - directoryLength);
  const entries = Array.from({ length: count }, (_, index) => {
    const entry = Buffer.from(single.subarray(file.length, file.length + directoryLength));
    entry.write(String(index), 46);
    return entry;
  });
  const directory = Buffer.concat(entries);
  return Buffer.concat([file, directory, endOfDirectory(count, directory.length, file.length)]);
}

function endOfDirectory(entries: number, bytes: number, offset: number): Buffer {
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(entries, 8);
  end.writeUInt16LE(entries, 10);
  end.writeUInt32LE(bytes, 12);
  end.writeUInt32LE(offset, 16);
  return end;
}

const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const relations = (...targets: [type: string, target: string][]) =>
  `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${targets
    .map(([type, target], index) => `<Relationship Id="rId${index + 1}" Type="${office}/${type}" Target="${target}"/>`)
    .join("")}</Relationships>`;

/** The parts of an OOXML document with this main part. */
function ooxml(main: string, parts: readonly ZipEntry[], title?: string): ZipEntry[] {
  const core = `<cp:coreProperties xmlns:cp="c" xmlns:dc="d"><dc:title>${title}</dc:title></cp:coreProperties>`;
  return [
    { name: "[Content_Types].xml", content: "<Types/>" },
    {
      name: "_rels/.rels",
      content: relations(
        ["officeDocument", main],
        ...(title ? [["metadata/core-properties", "docProps/core.xml"] as [string, string]] : []),
      ),
    },
    ...(title ? [{ name: "docProps/core.xml", content: core }] : []),
    ...parts,
  ];
}

/** `body` is WordprocessingML; the parts are added to the archive. */
export function docxParts(
  body: string,
  { prolog = "", title, parts = [] }: { prolog?: string; title?: string; parts?: ZipEntry[] } = {},
): ZipEntry[] {
  const document = `<?xml version="1.0"?>${prolog}<w:document xmlns:w="w"><w:body>${body}</w:body></w:document>`;
  return ooxml("word/document.xml", [{ name: "word/document.xml", content: document }, ...parts], title);
}

export const makeDocx = (...content: Parameters<typeof docxParts>): Buffer => makeZip(docxParts(...content));

export const paragraph = (text: string, style?: string): string =>
  `<w:p>${style ? `<w:pPr><w:pStyle w:val="${style}"/></w:pPr>` : ""}<w:r><w:t>${text}</w:t></w:r></w:p>`;

export function makeXlsx(sheets: Readonly<Record<string, string>>, { strings = "", styles = "" } = {}): Buffer {
  const names = Object.keys(sheets);
  return makeZip(
    ooxml("xl/workbook.xml", [
      {
        name: "xl/workbook.xml",
        content: `<workbook xmlns:r="r"><sheets>${names.map((name, index) => `<sheet name="${name}" sheetId="${index + 1}" r:id="rId${index + 1}"/>`).join("")}</sheets></workbook>`,
      },
      {
        name: "xl/_rels/workbook.xml.rels",
        content: relations(
          ...names.map((_, index): [string, string] => ["worksheet", `worksheets/sheet${index + 1}.xml`]),
          ["sharedStrings", "sharedStrings.xml"],
          ["styles", "/xl/styles.xml"],
        ),
      },
      { name: "xl/sharedStrings.xml", content: `<sst>${strings}</sst>` },
      { name: "xl/styles.xml", content: `<styleSheet>${styles}</styleSheet>` },
      ...names.map((name, index) => ({
        name: `xl/worksheets/sheet${index + 1}.xml`,
        content: `<worksheet><sheetData>${sheets[name]}</sheetData></worksheet>`,
      })),
    ]),
  );
}

/** Slides with a title and a text each. */
export function makePptx(slides: readonly [title: string, text: string][]): Buffer {
  const shape = (type: string, text: string) =>
    `<p:sp><p:nvSpPr><p:nvPr><p:ph type="${type}"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>${text}</a:t></a:r></a:p></p:txBody></p:sp>`;
  return makeZip(
    ooxml("ppt/presentation.xml", [
      {
        name: "ppt/presentation.xml",
        content: `<p:presentation xmlns:r="r"><p:sldIdLst>${slides.map((_, index) => `<p:sldId id="${256 + index}" r:id="rId${index + 1}"/>`).join("")}</p:sldIdLst></p:presentation>`,
      },
      {
        name: "ppt/_rels/presentation.xml.rels",
        content: relations(...slides.map((_, index): [string, string] => ["slide", `slides/slide${index + 1}.xml`])),
      },
      ...slides.map(([title, text], index) => ({
        name: `ppt/slides/slide${index + 1}.xml`,
        content: `<p:sld xmlns:p="p" xmlns:a="a">${shape("title", title)}${shape("body", text)}</p:sld>`,
      })),
    ]),
  );
}

/** `body` is the content of `office:body`. */
export function makeOpenDocument(
  kind: "text" | "spreadsheet" | "presentation",
  body: string,
  { manifest = "", title = "" } = {},
): Buffer {
  return makeZip([
    { name: "mimetype", content: `application/vnd.oasis.opendocument.${kind}` },
    {
      name: "content.xml",
      content: `<office:document-content><office:body><office:${kind}>${body}</office:${kind}></office:body></office:document-content>`,
    },
    {
      name: "meta.xml",
      content: `<office:document-meta><office:meta><dc:title>${title}</dc:title></office:meta></office:document-meta>`,
    },
    {
      name: "META-INF/manifest.xml",
      content: `<!DOCTYPE manifest:manifest PUBLIC "-//OpenOffice.org//DTD Manifest 1.0//EN" "Manifest.dtd"><manifest:manifest>${manifest}</manifest:manifest>`,
    },
  ]);
}

export interface PdfOptions {
  title?: string;
  /** A gray image that fills each page instead of text. */
  scan?: { pixels: Uint8Array; width: number; height: number };
  /** Of the `trailer` and the root of the page tree, to break them. */
  trailer?: string;
  pageTree?: string;
  /** Instead of text, the operators of each page. */
  operators?: string;
}

/** Pages of lines of text in Helvetica, with WinAnsi encoding. */
export function makePdf(
  pages: readonly (readonly string[])[],
  { title, scan, trailer = "", pageTree, operators }: PdfOptions = {},
): Buffer {
  const objects: Buffer[] = [];
  const add = (dictionary: string, stream?: Buffer) => {
    const body =
      stream === undefined
        ? [`<< ${dictionary} >>`]
        : [`<< ${dictionary} /Length ${stream.length} >>\nstream\n`, stream, "\nendstream"];
    objects.push(
      Buffer.concat([
        Buffer.from(`${objects.length + 1} 0 obj\n`),
        ...body.map((part) => Buffer.from(part)),
        Buffer.from("\nendobj\n"),
      ]),
    );
    return objects.length;
  };
  const first = 5;
  const kids = pages.map((_, index) => `${first + 2 * index + 1} 0 R`).join(" ");
  add("/Type /Catalog /Pages 2 0 R");
  add(pageTree ?? `/Type /Pages /Count ${pages.length} /Kids [${kids}]`);
  add("/Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding");
  if (scan === undefined) add(`/Title (${title ?? ""})`);
  else {
    const { width, height, pixels } = scan;
    add(
      `/Type /XObject /Subtype /Image /Width ${width} /Height ${height} /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode`,
      deflateSync(pixels),
    );
  }
  for (const lines of pages) {
    const text = `BT /F1 12 Tf 14 TL 50 790 Td\n${lines.map((line) => `(${line.replaceAll(/[\\()]/g, "\\$&")}) Tj T*`).join("\n")}\nET`;
    const content = scan === undefined ? (operators ?? text) : "595 0 0 842 0 0 cm /Im1 Do";
    add("/Filter /FlateDecode", deflateSync(Buffer.from(content, "latin1")));
    add(
      `/Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents ${objects.length} 0 R /Resources << /Font << /F1 3 0 R >> /XObject << /Im1 4 0 R >> >>`,
    );
  }
  const header = Buffer.from("%PDF-1.7\n");
  let offset = header.length;
  const offsets = objects.map((object) => {
    offset += object.length;
    return String(offset - object.length).padStart(10, "0");
  });
  const end = `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${offsets.map((at) => `${at} 00000 n \n`).join("")}trailer << /Size ${objects.length + 1} /Root 1 0 R ${title ? "/Info 4 0 R" : ""} ${trailer} >>\nstartxref\n${offset}\n%%EOF\n`;
  return Buffer.concat([header, ...objects, Buffer.from(end)]);
}

/** A PNG image in shades of gray, which claims other dimensions when they are given. */
export function makePng(pixels: Uint8Array, width: number, height: number, claimed = { width, height }): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const sizes = Buffer.alloc(8);
    sizes.writeUInt32BE(data.length, 0);
    sizes.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([sizes.subarray(0, 4), body, sizes.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(claimed.width, 0);
  header.writeUInt32BE(claimed.height, 4);
  header[8] = 8;
  const rows = Buffer.alloc((width + 1) * height);
  for (let row = 0; row < height; row += 1)
    rows.set(pixels.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
