import type { DiskFigures } from "./disk.ts";
import type { Machine } from "./machine.ts";
import type { Range, Row } from "./measure.ts";

export interface Results {
  /** When the bench ended, as ISO 8601. */
  finished_at: string;
  is_quick: boolean;
  seconds: number;
  machine: Machine;
  disk: { quiet: DiskFigures; during: DiskFigures | null };
  /** What other programs used of the machine at the worst, from 0 to 1. */
  others_share: number;
  measures: readonly Row[];
}

/** The table as Markdown, so that it can be pasted where it is quoted. */
export function formatTable(results: Results): string {
  const head = ["measure", "value", "unit", "reference", "ratio", "pairs", "goal", "holds"];
  const lines = results.measures.map((row) => [
    row.name,
    withRange(number(row.value), row.range),
    row.unit,
    row.reference === null ? "" : number(row.reference),
    row.ratio === null ? "" : `${withRange(String(row.ratio), row.ratio_range)} ×`,
    row.pairs === null ? "" : String(row.pairs),
    row.goal ?? "",
    row.holds === null ? "" : row.holds ? "yes" : "NO",
  ]);
  const widths = head.map((name, column) => Math.max(name.length, ...lines.map((line) => line[column]!.length)));
  const isNumber = [false, true, false, true, true, true, true, false];
  const cell = (text: string, column: number) =>
    isNumber[column] ? text.padStart(widths[column]!) : text.padEnd(widths[column]!);
  const draw = (line: string[]) => `| ${line.map(cell).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (isNumber[column] ? `${"-".repeat(width - 1)}:` : "-".repeat(width))).join(" | ")} |`;
  const notes = results.measures.flatMap(({ name, note }) => (note === null ? [] : [`${name}: ${note}.`]));
  const blocks = [describe(results).join("\n"), [draw(head), rule, ...lines.map(draw)].join("\n"), notes.join("\n")];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

/** The block that `docs/performance.md` keeps for each release. */
export function formatRelease(results: Results): string {
  return `### ${results.finished_at.slice(0, 10)}, commit ${results.machine.commit ?? "unknown"}\n\n${formatTable(results)}`;
}

function describe({ machine, disk, others_share, is_quick, seconds }: Results): string[] {
  const { cpu, cores, memory_gib, os, node, cpu_time } = machine;
  const during = disk.during === null ? "" : `, and ${describeDisk(disk.during)} during the run`;
  return [
    `${cores} × ${cpu}, ${memory_gib} GiB, ${os}, Node.js ${node}; CPU times from ${cpu_time}.`,
    `disk: fdatasync of 8 KiB takes ${describeDisk(disk.quiet)} before the run${during}.`,
    `${is_quick ? "Quick: few pairs, short turns; " : ""}${Math.round(seconds)} s in all; ` +
      `other programs used up to ${Math.round(others_share * 100)} % of the machine.`,
  ];
}

function describeDisk({ median_us, p99_us }: DiskFigures): string {
  return `${number(median_us)} µs (p99 ${number(p99_us)} µs)`;
}

function withRange(text: string, range: Range | null): string {
  return range === null ? text : `${text} (${range.map(number).join(" to ")})`;
}

function number(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 3 });
}
