import type { Machine } from "./machine.ts";
import type { Row } from "./measure.ts";

/** The table as Markdown, so that it can be pasted where it is quoted. */
export function formatTable(machine: Machine, rows: readonly Row[]): string {
  const head = ["measure", "value", "unit", "reference", "ratio", "goal", "holds"];
  const lines = rows.map((row) => [
    row.name,
    number(row.value),
    row.unit,
    row.reference === null ? "" : number(row.reference),
    row.ratio === null ? "" : `${row.ratio} ×`,
    row.goal ?? "",
    row.holds === null ? "" : row.holds ? "yes" : "NO",
  ]);
  const widths = head.map((name, column) => Math.max(name.length, ...lines.map((line) => line[column]!.length)));
  const isNumber = [false, true, false, true, true, true, false];
  const cell = (text: string, column: number) =>
    isNumber[column] ? text.padStart(widths[column]!) : text.padEnd(widths[column]!);
  const draw = (line: string[]) => `| ${line.map(cell).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (isNumber[column] ? `${"-".repeat(width - 1)}:` : "-".repeat(width))).join(" | ")} |`;
  return `${describe(machine)}\n\n${[draw(head), rule, ...lines.map(draw)].join("\n")}\n`;
}

function number(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}

function describe({ cpu, cores, memory_gib, os, node, fdatasync_us }: Machine): string {
  return `${cores} × ${cpu}, ${memory_gib} GiB, ${os}, Node.js ${node}, ${fdatasync_us} µs to make 8 KiB durable`;
}
