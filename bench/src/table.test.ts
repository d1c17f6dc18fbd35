import assert from "node:assert/strict";
import { test } from "node:test";
import { atLeastTimes, atMost, compare, once, row } from "./measure.ts";
import { formatRelease, formatTable, type Results } from "./table.ts";

const results: Results = {
  finished_at: "2026-12-01T10:00:00.000Z",
  is_quick: true,
  seconds: 80.4,
  machine: {
    cpu: "Xeon",
    cores: 2,
    memory_gib: 24,
    os: "Linux 6.18",
    node: "26.10.0",
    commit: "0a1b2c3",
    cpu_time: "the scheduler",
  },
  disk: { quiet: { median_us: 120, p99_us: 900, samples: 100 }, during: null },
  others_share: 0.25,
  measures: [
    row({ name: "accept.single", unit: "/core-s" }, compare([6_000, 5_000], [10_000, 10_000]), atLeastTimes(0.5)),
    row({ name: "memory.idle", unit: "MiB", note: "a remark" }, once(160), atMost(150)),
  ],
};

test("the table has the median, the range, the pairs, and the notes below", () => {
  const lines = formatTable(results).split("\n");
  const single = lines.find((line) => line.startsWith("| accept.single"))!;
  assert.deepEqual(
    single
      .split("|")
      .map((cell) => cell.trim())
      .filter(Boolean),
    ["accept.single", "5,500 (5,000 to 6,000)", "/core-s", "10,000", "0.55 (0.5 to 0.6) ×", "2", ">= 0.5 ×", "yes"],
  );
  assert.match(lines.find((line) => line.startsWith("| memory.idle"))!, / <= 150 MiB \| NO /);
  assert.ok(lines.includes("memory.idle: a remark."));
  assert.ok(
    lines.some((line) => /^Quick: .*; 80 s in all; other programs used up to 25 % of the machine\.$/.test(line)),
  );
  assert.ok(lines.some((line) => line.includes("takes 120 µs (p99 900 µs) before the run.")));
});

test("a release block has the date and the commit as its title", () => {
  assert.match(formatRelease(results), /^### 2026-12-01, commit 0a1b2c3\n\n2 × Xeon, 24 GiB/);
});
