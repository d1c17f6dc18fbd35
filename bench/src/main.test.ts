import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { patient } from "../../server/src/testing/patience.ts";
import type { Results } from "./table.ts";

const program = fileURLToPath(new URL("main.ts", import.meta.url));
const run = (...args: string[]) =>
  promisify(execFile)(process.execPath, [program, ...args], { timeout: patient(120_000) });

test("a quick run measures for real, and its results are one JSON object", async () => {
  const { stdout } = await run("--quick", "--json", "accept.batch500");
  const { is_quick, machine, disk, measures } = JSON.parse(stdout) as Results;
  assert.equal(is_quick, true);
  assert.ok(machine.cores > 0 && machine.cpu_time !== "");
  assert.ok(disk.quiet.median_us > 0);
  const [batch, rate] = measures;
  assert.equal(batch!.name, "accept.batch500");
  assert.equal(batch!.pairs, 2);
  assert.ok(batch!.ratio! > 0 && batch!.ratio_range![0] <= batch!.ratio! && batch!.ratio! <= batch!.ratio_range![1]);
  assert.equal(batch!.goal, ">= 0.6 ×");
  assert.equal(rate!.name, "accept.batch500.rate");
  assert.ok(rate!.value > 0);
});

test("long measures are listed", async () => {
  const { stdout } = await run("--list");
  assert.match(stdout, /^growth\.history$/m);
});

test("an unknown measure is refused with the list of all", async () => {
  await assert.rejects(run("accept.twice"), /There is no measure accept\.twice\. There are start\.first, /);
});
