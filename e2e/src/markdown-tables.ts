/**
 * The rows of the table whose header begins with this column, by the names of their columns. Throws without such a
 * table.
 */
export function readTable(markdown: string, firstColumn: string): Record<string, string>[] {
  const lines = markdown.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${firstColumn} |`));
  if (start === -1) throw new Error(`there is no table whose first column is "${firstColumn}"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  const [names, , ...rows] = lines.slice(start, end === -1 ? undefined : end).map(cellsOf);
  return rows.map((cells) => Object.fromEntries(names!.map((name, index) => [name, cells[index] ?? ""])));
}

/** The code spans of a text. */
export function codesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
}

function cellsOf(line: string): string[] {
  return line
    .replace(/^\|/, "")
    .replace(/\|\s*$/, "")
    .split("|")
    .map((cell) => cell.trim());
}
