/** Hostile documents fail with a code, within limits, while others are read. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { patient } from "../testing/patience.ts";
import {
  docxParts,
  makeDocx,
  makeOpenDocument,
  makeOverlappingZip,
  makePdf,
  makePng,
  makeXlsx,
  makeZip,
  paragraph,
} from "../testing/test-documents.ts";
import { DocumentError, type DocumentErrorCode, extractText } from "./documents.ts";

const opened = closeAfterTests();
const folder = opened.adopt(await mkdtemp(join(tmpdir(), "attacks-")), (path) => rm(path, { recursive: true }));
let files = 0;
const mebibyte = 1024 * 1024;
const zeros = (bytes: number) => Buffer.alloc(bytes);

async function extract(filename: string, content: string | Buffer, contentType = "") {
  files += 1;
  const path = join(folder, String(files));
  await writeFile(path, content);
  // Far below what an honest document may take.
  const timeoutMs = patient(30_000);
  return extractText(path, { filename, contentType, clock: systemClock, timeoutMs });
}

/** Reads the document beside an honest one, which must be read meanwhile. */
async function fails(
  code: DocumentErrorCode,
  sentence: RegExp,
  filename: string,
  content: string | Buffer,
  contentType?: string,
) {
  const honest = extract("honest.txt", "An honest text is read meanwhile.");
  await assert.rejects(extract(filename, content, contentType), (error) => {
    assert.ok(error instanceof DocumentError, String((error as Error).stack));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, sentence);
    return true;
  });
  assert.equal((await honest).words, 6);
}

test("a ZIP bomb is refused by its directory", async () => {
  const parts = docxParts(paragraph("Boom"));
  await fails(
    "DOCUMENT_TOO_LARGE",
    /inflates to more/,
    "bomb.docx",
    makeZip([...parts, { name: "word/bomb.xml", content: zeros(200 * mebibyte) }]),
  );
});

test("a ZIP bomb that lies about its size is stopped when it has inflated more", async () => {
  const parts = docxParts(`<w:p/>${" ".repeat(100 * mebibyte)}`);
  const lying = parts.map((part) => (part.name === "word/document.xml" ? { ...part, claimedSize: 1_000 } : part));
  await fails("DOCUMENT_CORRUPT", /A part of the document is damaged/, "bomb.docx", makeZip(lying));
});

test("parts that are honest about their size are inflated up to a bound", async () => {
  // Bytes that do not compress make the ratio of the whole file harmless.
  const padding = { name: "media/image.png", content: randomBytes(3 * mebibyte) };
  const parts = docxParts(`<w:p/>${" ".repeat(280 * mebibyte)}`);
  await fails("DOCUMENT_TOO_LARGE", /inflates to more/, "large.docx", makeZip([...parts, padding]));
});

test("nested archives are not opened, and no document", async () => {
  let archive = makeZip([{ name: "0", content: zeros(10 * mebibyte) }]);
  for (let depth = 0; depth < 5; depth += 1) {
    const content = archive;
    archive = makeZip(Array.from({ length: 16 }, (_, index) => ({ name: `${index}.zip`, content })));
  }
  await fails("DOCUMENT_TYPE_UNSUPPORTED", /an archive, not a document/, "nested.zip", archive, "application/zip");
  await fails("DOCUMENT_TYPE_UNSUPPORTED", /an archive, not a document/, "nested.docx", archive);
  const carrier = await extract(
    "carrier.docx",
    makeZip([...docxParts(paragraph("Text")), { name: "word/embeddings/nested.zip", content: archive }]),
  );
  assert.equal(carrier.text, "Text\n");
});

test("an archive whose parts overlap, or are too many, is refused", async () => {
  await fails("DOCUMENT_CORRUPT", /overlap/, "overlap.docx", makeOverlappingZip("x.xml", zeros(10_000), 10));
  const many = Array.from({ length: 10_001 }, (_, index) => ({ name: `word/${index}.xml`, content: "" }));
  await fails("DOCUMENT_TOO_LARGE", /more than 10000 parts/, "many.docx", makeZip(many));
});

test("a DOCX that defines entities (billion laughs) is refused, and nothing is expanded", async () => {
  const entities = Array.from({ length: 10 }, (_, index) => `<!ENTITY e${index + 1} "${`&e${index};`.repeat(10)}">`);
  const prolog = `<!DOCTYPE lolz [<!ENTITY e0 "lol">${entities.join("")}]>`;
  await fails("DOCUMENT_CORRUPT", /defines XML entities/, "laughs.docx", makeDocx(paragraph("&e10;"), { prolog }));
});

test("zeros, texts and truncated archives that are called documents are refused", async () => {
  await fails("DOCUMENT_CORRUPT", /not contain a document of the type/, "zeros.docx", zeros(mebibyte));
  await fails("DOCUMENT_CORRUPT", /not contain a document of the type/, "zeros.pdf", "not a PDF", "application/pdf");
  await fails("DOCUMENT_CORRUPT", /no text/, "zeros.txt", zeros(mebibyte));
  await fails("DOCUMENT_CORRUPT", /damaged or incomplete/, "cut.docx", makeDocx(paragraph("Text")).subarray(0, 400));
  await fails("DOCUMENT_CORRUPT", /no email/, "zeros.eml", "");
  const unclosed = docxParts("").map((part) => ({
    ...part,
    content: String(part.content).replace("</w:document>", ""),
  }));
  await fails("DOCUMENT_CORRUPT", /is incomplete/, "unclosed.docx", makeZip(unclosed));
  await fails("DOCUMENT_TYPE_UNSUPPORTED", /not read as documents/, "program.exe", zeros(100));
  await fails("DOCUMENT_TYPE_UNSUPPORTED", /not read as documents/, "film.mp4", zeros(100), "video/mp4");
});

test("elements within elements without end are refused", async () => {
  await fails("DOCUMENT_CORRUPT", /nested too deeply/, "deep.docx", makeDocx(`<w:p>${"<w:r>".repeat(1_000_000)}`));
  await fails("DOCUMENT_CORRUPT", /nested too deeply/, "deep.html", "<div>".repeat(1_000_000));
});

test("encrypted documents are recognised", async () => {
  const encryption =
    "/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (01234567890123456789012345678901) /U (01234567890123456789012345678901) >> /ID [(0123456789012345) (0123456789012345)]";
  await fails("DOCUMENT_ENCRYPTED", /password/, "secret.pdf", makePdf([["secret"]], { trailer: encryption }));
  const office = Buffer.alloc(4096);
  office.write("d0cf11e0a1b11ae1", "hex");
  await fails("DOCUMENT_TYPE_UNSUPPORTED", /older format/, "old.doc", office, "application/msword");
  office.write("EncryptedPackage", 1024, "utf16le");
  await fails("DOCUMENT_ENCRYPTED", /password/, "secret.docx", office);
  const manifest = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>";
  await fails("DOCUMENT_ENCRYPTED", /password/, "secret.odt", makeOpenDocument("text", "", { manifest }));
  const zip = docxParts(paragraph("secret")).map((part) => ({ ...part, isEncrypted: true }));
  await fails("DOCUMENT_ENCRYPTED", /password/, "secret.docx", makeZip(zip));
});

test("a truncated PDF is refused, wherever it ends", async () => {
  const pdf = makePdf(Array.from({ length: 20 }, () => ["A line of text"]));
  for (const part of [0.2, 0.5, 0.9]) {
    await fails("DOCUMENT_CORRUPT", /incomplete/, "cut.pdf", pdf.subarray(0, pdf.length * part));
  }
  // Its objects are complete: PDFium would restore what they say.
  await fails("DOCUMENT_CORRUPT", /its end is missing/, "cut.pdf", pdf.subarray(0, pdf.lastIndexOf("trailer")));
});

test("a PDF with a page tree without end is refused", async () => {
  for (const pageTree of [
    "/Type /Pages /Count 1000000000 /Kids [2 0 R]",
    "/Type /Pages /Count 3 /Kids [2 0 R 2 0 R]",
    "/Type /Pages /Count 10000 /Kids [6 0 R]",
  ]) {
    await assert.rejects(extract("endless.pdf", makePdf([["text"]], { pageTree })), DocumentError, pageTree);
  }
});

test("a PDF page without end is stopped", async () => {
  const text = `BT /F1 12 Tf ${"(no end) Tj ".repeat(3_000_000)} ET`;
  await assert.rejects(extract("endless.pdf", makePdf([[]], { operators: text })), DocumentError);
  const paths = "0 0 m 500 800 l S 1 0 0 1 0.1 0.1 cm ".repeat(3_000_000);
  await assert.rejects(extract("endless.pdf", makePdf([[]], { operators: paths })), DocumentError);
});

test("an image of 50,000 x 50,000 pixels is refused before it is decoded", async () => {
  const png = makePng(zeros(100), 10, 10, { width: 50_000, height: 50_000 });
  await fails("DOCUMENT_TOO_LARGE", /more than 16 million pixels/, "huge.png", png);
  await fails("DOCUMENT_CORRUPT", /image is damaged/, "cut.png", makePng(zeros(100), 10, 10).subarray(0, 20));
});

test("an image of the largest size is recognised within the memory that is allowed", async () => {
  const size = 4_000;
  assert.equal((await extract("blank.png", makePng(zeros(size * size).fill(255), size, size))).text.trim(), "");
});

test("a text of one line with 50 MB is refused", async () => {
  await fails("DOCUMENT_TOO_LARGE", /more than 16 MiB of text/, "long.txt", "x".repeat(50_000_000));
  await fails("DOCUMENT_TOO_LARGE", /more than 16 MiB of text/, "long.json", `"${"x ".repeat(25_000_000)}"`);
});

test("a spreadsheet with more text than is read is refused", async () => {
  const cells = '<row><c t="s"><v>0</v></c></row>'.repeat(200_000);
  await fails(
    "DOCUMENT_TOO_LARGE",
    /more than 16 MiB of text/,
    "a.xlsx",
    makeXlsx({ A: cells }, { strings: `<si><t>${"x".repeat(100)}</t></si>` }),
  );
});
