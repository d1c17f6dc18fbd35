import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import {
  makeDocx,
  makeOpenDocument,
  makePdf,
  makePng,
  makePptx,
  makeXlsx,
  paragraph,
} from "../testing/test-documents.ts";
import { scanOf } from "../testing/test-scan.ts";
import { type DocumentProgress, type ExtractedText, extractText } from "./documents.ts";

const opened = closeAfterTests();
const folder = opened.adopt(await mkdtemp(join(tmpdir(), "documents-")), (path) => rm(path, { recursive: true }));

async function extract(
  filename: string,
  content: string | Buffer,
  contentType = "",
  onProgress?: (progress: DocumentProgress) => void,
): Promise<ExtractedText> {
  // The path says nothing about the kind of document.
  const path = join(folder, `stored-${extname(filename).slice(1)}`);
  await writeFile(path, content);
  return extractText(path, { filename, contentType, clock: systemClock, ...(onProgress && { onProgress }) });
}

/** The text from each mark to the next. */
function parts({ text, marks }: ExtractedText): string[] {
  return marks.map(({ offset }, index) => text.slice(offset, marks[index + 1]?.offset).trim());
}

const portuguese =
  "A reunião de condomínio começa às dezenove horas. Não é permitido estacionar na calçada, e o síndico já avisou a todos os moradores.";

test("a PDF of 200 pages: each page is marked, and the progress is seen", async () => {
  const lines = (page: number) =>
    Array.from({ length: 40 }, (_, line) => `Line ${line + 1} of page ${page + 1}, about messages and their order.`);
  const progress: DocumentProgress[] = [];
  const pdf = makePdf(
    Array.from({ length: 200 }, (_, page) => lines(page)),
    { title: "Two hundred pages" },
  );
  const document = await extract("report.pdf", pdf, "application/pdf", (value) => progress.push(value));
  assert.deepEqual([document.pages, document.title, document.language], [200, "Two hundred pages", "en"]);
  const pages = parts(document);
  assert.equal(pages.length, 200);
  for (const [page, text] of pages.entries()) assert.deepEqual(text.split("\n"), lines(page));
  assert.equal(document.words, 200 * 40 * 10);
  assert.deepEqual(document.marks[1], { kind: "page", number: 2, offset: document.marks[1]!.offset });
  assert.ok(progress.length > 0);
  assert.ok(progress.every(({ done, total }) => total === 200 && done >= 0 && done <= 200));
  assert.deepEqual(
    progress,
    progress.toSorted((a, b) => a.done - b.done),
  );
});

test("a DOCX: paragraphs, tables and footnotes, but no deleted text", async () => {
  const cell = (text: string) => `<w:tc>${paragraph(text)}</w:tc>`;
  const body = [
    paragraph("The plan &amp; the <![CDATA[<budget>]]>", "Heading1"),
    `<w:p><w:pPr><w:tabs><w:tab w:val="left" w:pos="720"/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">First </w:t><w:tab/><w:t>second</w:t><w:br/><w:t>third</w:t></w:r></w:p>`,
    `<w:p><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins></w:p>`,
    `<w:tbl><w:tr>${cell("a")}${cell("b")}</w:tr><w:tr>${cell("c")}${cell("d")}</w:tr></w:tbl>`,
    `<mc:AlternateContent><mc:Choice>${paragraph("in a box")}</mc:Choice><mc:Fallback>${paragraph("in a box")}</mc:Fallback></mc:AlternateContent>`,
  ].join("");
  const parts = [
    {
      name: "word/_rels/document.xml.rels",
      content: '<Relationships><Relationship Id="rId1" Type="x/footnotes" Target="footnotes.xml"/></Relationships>',
    },
    {
      name: "word/footnotes.xml",
      content: `<w:footnotes><w:footnote>${paragraph("A footnote.")}</w:footnote></w:footnotes>`,
    },
    // As charts have them: not opened.
    { name: "word/embeddings/table.xlsx", content: makeXlsx({ Data: "" }) },
  ];
  const document = await extract("plan.docx", makeDocx(body, { parts }));
  const text = "The plan & the <budget>\nFirst \tsecond\nthird\ninserted\na\tb\nc\td\nin a box\nA footnote.\n";
  assert.equal(document.text, text);
  assert.deepEqual([document.title, document.pages, document.marks], ["The plan & the <budget>", null, []]);
  const titled = await extract("plan.docx", makeDocx(body, { title: "Of the metadata" }));
  assert.equal(titled.title, "Of the metadata");
});

test("an XLSX: each sheet is marked, with the values as they are shown", async () => {
  const cells = (...values: string[]) => `<row>${values.join("")}</row>`;
  const workbook = makeXlsx(
    {
      Orders:
        cells('<c t="s"><v>0</v></c>', '<c t="inlineStr"><is><t>Amount</t></is></c>', "<c/>", '<c t="b"><v>1</v></c>') +
        cells(
          '<c s="1"><v>46356.75</v></c>',
          "<c><f>A1+B1</f><v>0.30000000000000004</v></c>",
          '<c s="2"><v>0.5</v></c>',
        ),
      Empty: "",
    },
    {
      strings: "<si><r><t>Da</t></r><r><t>te</t></r><rPh><t>phonetic</t></rPh></si>",
      styles:
        '<numFmts><numFmt numFmtId="164" formatCode="[Red]hh:mm &quot;h&quot;"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="164"/></cellXfs>',
    },
  );
  const document = await extract("orders.xlsx", workbook);
  assert.deepEqual(parts(document), ["Date\tAmount\tTRUE\n2026-11-30 18:00:00\t0.3\t12:00:00", ""]);
  assert.deepEqual(
    document.marks.map(({ kind, number, title }) => [kind, number, title]),
    [
      ["sheet", 1, "Orders"],
      ["sheet", 2, "Empty"],
    ],
  );
  assert.equal(document.pages, 2);
});

test("a PPTX: each slide is marked, with its title", async () => {
  const document = await extract(
    "talk.pptx",
    makePptx([
      ["Welcome", "Hello, all"],
      ["The end", "Questions?"],
    ]),
  );
  assert.deepEqual(parts(document), ["Welcome\nHello, all", "The end\nQuestions?"]);
  assert.deepEqual(
    document.marks.map(({ kind, title }) => [kind, title]),
    [
      ["slide", "Welcome"],
      ["slide", "The end"],
    ],
  );
  assert.deepEqual([document.title, document.pages], ["Welcome", 2]);
});

test("OpenDocument: texts, spreadsheets and presentations", async () => {
  const body =
    '<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes><text:h>Minutes</text:h><text:p>All<text:s text:c="2"/>were<text:tab/>there.<office:annotation><text:p>Really?</text:p></office:annotation><text:line-break/>Even Rita.</text:p>';
  const odt = await extract("minutes.odt", makeOpenDocument("text", body));
  assert.deepEqual([odt.text, odt.title, odt.marks], ["Minutes\nAll  were\tthere.\nEven Rita.\n", "Minutes", []]);
  const row =
    "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell><text:p>b</text:p><text:p>c</text:p></table:table-cell></table:table-row>";
  const ods = await extract(
    "list.ods",
    makeOpenDocument("spreadsheet", `<table:table table:name="List">${row}${row}</table:table>`, { title: "The list" }),
  );
  assert.deepEqual([ods.text, ods.title], ["a\tb c\na\tb c\n", "The list"]);
  assert.deepEqual(ods.marks, [{ kind: "sheet", number: 1, title: "List", offset: 0 }]);
  const page = (name: string) =>
    `<draw:page draw:name="${name}" draw:master-page-name="m"><text:p>On ${name}</text:p><presentation:notes><text:p>note</text:p></presentation:notes></draw:page>`;
  const odp = await extract("talk.odp", makeOpenDocument("presentation", page("one") + page("two")));
  assert.deepEqual(parts(odp), ["On one", "On two"]);
});

test("an HTML page: its text without scripts and styles, in the encoding that it declares", async () => {
  const html = Buffer.from(
    `<!doctype html><html><head><meta charset="iso-8859-1"><title> Avisos  do\n prédio </title><style>p { color: red }</style></head><body><script>alert("no")</script><h1>Olá</h1><p>Fim  da <b>reunião</b>:\n  amanhã.</p><ul><li>um<li>dois</ul><table><tr><td>a<td>b</table><pre>x\n  y</pre>fim &amp; &eacute;</body></html>`,
    "latin1",
  );
  const document = await extract("page.html", html, "text/html");
  assert.equal(document.text, "Olá\nFim da reunião: amanhã.\num\ndois\na\tb\nx\n  y\nfim & é\n");
  assert.equal(document.title, "Avisos do prédio");
});

test("an email: its headers and text; attachments are named and not opened", async () => {
  const eml = [
    "From: =?utf-8?q?Jo=C3=A3o?= <joao@example.com>",
    "To: rita@example.com",
    "Subject: =?utf-8?b?UmV1bmnDo28=?=",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "Content-Type: text/html; charset=utf-8",
    "Content-Transfer-Encoding: quoted-printable",
    "",
    "<style>p {}</style><p>At=C3=A9 amanh=C3=A3.</p>",
    "--b",
    'Content-Type: application/pdf; name="plan.pdf"',
    "Content-Disposition: attachment; filename=plan.pdf",
    "",
    "secret content",
    "--b--",
  ].join("\r\n");
  const document = await extract("mail.eml", eml);
  assert.match(document.text, /^Subject: Reunião\nFrom: João <joao@example.com>\nTo: rita@example.com\n/);
  assert.match(document.text, /\nAté amanhã\.\n/);
  assert.match(document.text, /Attachment: plan\.pdf \(application\/pdf\)\n$/);
  assert.doesNotMatch(document.text, /secret content/);
  assert.equal(document.title, "Reunião");
});

test("Markdown, CSV and JSON are read as they are", async () => {
  const markdown = "Intro\n\n## The *title* ##\n\ntext\n";
  assert.deepEqual(pick(await extract("notes.md", markdown, "text/plain")), [markdown, "The *title*"]);
  const csv = 'name,"a, b"\nRita,1\n';
  assert.deepEqual(pick(await extract("table.csv", csv, "text/csv")), [csv, null]);
  const json = '{"name": "Rita", "list": [1, 2]}';
  assert.deepEqual(pick(await extract("data.json", json, "application/json")), [json, null]);
  assert.deepEqual(pick(await extract("x", json, "application/vnd.api+json; charset=utf-8")), [json, null]);
});

const pick = ({ text, title }: ExtractedText) => [text, title];

test("a Portuguese text is recognised in any encoding", async () => {
  const windows = Buffer.from(
    `${portuguese} “Até já” – 5 €`.replace("“", "\x93").replace("”", "\x94").replace("–", "\x96").replace("€", "\x80"),
    "latin1",
  );
  const utf16 = Buffer.from(portuguese, "utf16le");
  const encoded: Record<string, Buffer> = {
    "UTF-8": Buffer.from(portuguese),
    "UTF-8 with a mark": Buffer.from(`\ufeff${portuguese}`),
    "Latin-1": Buffer.from(portuguese, "latin1"),
    "UTF-16 with a mark": Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]),
    "UTF-16 without a mark": utf16,
    "UTF-16, big-endian": Buffer.concat([Buffer.from([0xfe, 0xff]), Buffer.from(utf16).swap16()]),
  };
  for (const [name, bytes] of Object.entries(encoded)) {
    const document = await extract("aviso.txt", bytes);
    assert.deepEqual([document.text, document.language, document.words], [portuguese, "pt", 23], name);
  }
  assert.equal((await extract("aviso.txt", windows)).text, `${portuguese} “Até já” – 5 €`);
  const cyrillic = Buffer.from([0xcf, 0xf0, 0xe8, 0xe2, 0xe5, 0xf2]);
  assert.equal((await extract("a.txt", cyrillic, "text/plain; charset=windows-1251")).text, "Привет");
});

test("scans are recognised: an image, and a page of a PDF", async () => {
  const announcement = "Não é permitido estacionar na calçada.";
  const english = "The invoice is due on the last day of the month.";
  const scan = await scanOf([[english, "", announcement]]);
  const png = await extract("scan.png", makePng(scan.pixels, scan.width, scan.height), "image/png");
  assert.equal(png.text.replaceAll(/\s+/g, " ").trim(), `${english} ${announcement}`);
  assert.deepEqual([png.pages, png.marks], [1, [{ kind: "page", number: 1, offset: 0 }]]);
  const progress: DocumentProgress[] = [];
  const pdf = await extract("scan.pdf", makePdf([[], []], { scan }), "", (value) => progress.push(value));
  for (const page of parts(pdf)) assert.equal(page.replaceAll(/\s+/g, " "), `${english} ${announcement}`);
  assert.ok(
    progress.some(({ done }) => done > 0 && done < 1),
    "also within a page",
  );
});

test("a document without text has an empty one", async () => {
  for (const [name, content] of [
    ["a.txt", ""],
    ["a.docx", makeDocx("")],
    ["a.pdf", makePdf([[]])],
  ] as const) {
    const { text, words, language, title } = await extract(name, content);
    assert.deepEqual([text, words, language, title], ["", 0, null, null], name);
  }
});
