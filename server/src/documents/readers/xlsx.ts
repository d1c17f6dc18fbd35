import type { Archive } from "../archive.ts";
import type { Source } from "../reader.ts";
import { attribute, readXml } from "../xml.ts";
import { type Relation, readRelations } from "./relations.ts";
import { isDateFormat, serialDate } from "./spreadsheet-dates.ts";

interface Workbook {
  strings: readonly string[];
  /** By the index of a cell's style: whether it shows a number as a date. */
  areDates: readonly boolean[];
  startsIn1904: boolean;
}

/** The sheets in their order, a line for each row, with the cells that have a value separated by tabs. */
export async function readXlsx(archive: Archive, main: string, source: Source): Promise<undefined> {
  const relations = await readRelations(archive, main);
  const sheets: { name: string; part: string }[] = [];
  let startsIn1904 = false;
  await readXml(archive.read(main), {
    open(name, attributes) {
      if (name === "workbookPr") startsIn1904 = /^(1|true)$/.test(attributes.date1904 ?? "");
      if (name !== "sheet") return;
      const id = attribute(attributes, "id");
      const part = relations.find((relation) => relation.id === id && relation.type.endsWith("/worksheet"))?.target;
      if (part !== undefined) sheets.push({ name: attributes.name ?? "", part });
    },
  });
  const workbook = {
    strings: await readStrings(archive, partOf(archive, relations, "sharedStrings")),
    areDates: await readDateStyles(archive, partOf(archive, relations, "styles")),
    startsIn1904,
  };
  for (const [index, { name, part }] of sheets.entries()) {
    source.progress.set(index, sheets.length);
    source.output.mark("sheet", name);
    await readSheet(archive, part, workbook, source);
  }
}

function partOf(archive: Archive, relations: readonly Relation[], kind: string): string | undefined {
  const part = relations.find(({ type }) => type.endsWith(`/${kind}`))?.target;
  return part !== undefined && archive.has(part) ? part : undefined;
}

async function readStrings(archive: Archive, part: string | undefined): Promise<string[]> {
  const strings: string[] = [];
  if (part === undefined) return strings;
  let current = "";
  let isText = false;
  let phonetic = 0;
  await readXml(archive.read(part), {
    open(name) {
      if (name === "si") current = "";
      else if (name === "rPh") phonetic += 1;
      else if (name === "t") isText = phonetic === 0;
    },
    close(name) {
      if (name === "t") isText = false;
      else if (name === "rPh") phonetic -= 1;
      else if (name === "si") strings.push(current);
    },
    text: (text) => {
      if (isText) current += text;
    },
  });
  return strings;
}

async function readDateStyles(archive: Archive, part: string | undefined): Promise<boolean[]> {
  const areDates: boolean[] = [];
  if (part === undefined) return areDates;
  const formats = new Map<number, string>();
  let isCellFormat = false;
  await readXml(archive.read(part), {
    open(name, { numFmtId = "0", formatCode = "" }) {
      if (name === "numFmt") formats.set(Number(numFmtId), formatCode);
      else if (name === "cellXfs") isCellFormat = true;
      else if (name === "xf" && isCellFormat) {
        areDates.push(isDateFormat(Number(numFmtId), formats.get(Number(numFmtId))));
      }
    },
    close: (name) => {
      if (name === "cellXfs") isCellFormat = false;
    },
  });
  return areDates;
}

async function readSheet(archive: Archive, part: string, workbook: Workbook, { output }: Source): Promise<void> {
  let type = "n";
  let style = 0;
  let value = "";
  let isValue = false;
  await readXml(archive.read(part), {
    open(name, attributes) {
      if (name === "c") {
        type = attributes.t ?? "n";
        style = Number(attributes.s ?? 0);
        value = "";
      } else if (name === "v" || name === "t") isValue = true;
    },
    close(name) {
      if (name === "v" || name === "t") isValue = false;
      else if (name === "row") output.endLine();
      else if (name === "c" && value !== "") {
        output.append(shownValue(value, type, style, workbook).replaceAll(/\s+/g, " "));
        output.separate("\t");
      }
    },
    text: (text) => {
      if (isValue) value += text;
    },
  });
}

/** As ECMA-376, 18.18.11 defines the types of cells. Formulas have the value that was computed last. */
function shownValue(value: string, type: string, style: number, workbook: Workbook): string {
  if (type === "s") return workbook.strings[Number(value)] ?? "";
  if (type === "b") return value === "1" ? "TRUE" : "FALSE";
  if (type !== "n") return value;
  const number = Number(value);
  if (Number.isNaN(number)) return value;
  if (workbook.areDates[style]) return serialDate(number, workbook.startsIn1904) ?? value;
  // Excel shows 15 digits: 0.1 + 0.2 is 0.3.
  return String(Number(number.toPrecision(15)));
}
