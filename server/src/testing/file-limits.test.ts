import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ageOf, limitTestFiles } from "./file-limits.ts";
import { testsThatNeed } from "./programs.ts";
import { until } from "./until.ts";

const { test } = testsThatNeed("ps");

/** A separate test run over one file, watched as `npm test` is; `pid.txt` gets the pid of what the file has started. */
async function run(body: string, limitMs: number) {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-limits-"));
  const pidFile = join(folder, "pid.txt");
  writeFileSync(
    join(folder, "sample.test.mjs"),
    `import { spawn } from "node:child_process";
     import { test } from "node:test";
     import { writeFileSync } from "node:fs";
     const leave = () => {
       const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore", detached: true });
       child.unref();
       writeFileSync(${JSON.stringify(pidFile)}, String(child.pid));
     };
     ${body}`,
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const runner = spawn(process.execPath, ["--test", join(folder, "sample.test.mjs")], { env, stdio: "ignore" });
  const said: string[] = [];
  const limits = limitTestFiles({ limitMs, say: (line) => said.push(line), runnerPid: runner.pid! });
  return {
    said,
    limits,
    exited: once(runner, "exit").then(([code]) => code as number | null),
    started: () => (existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0),
    [Symbol.dispose]: () => {
      runner.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// Prevents this: a test fails by its own time limit, its process computes for hours, and the run never ends.
test("kills a file that never ends, even a busy one, and the processes that it started", async () => {
  using one = await run("test('busy', () => { leave(); for (;;); });", 5_000);
  assert.notEqual(await one.exited, 0);
  assert.match(one.said[0]!, /sample\.test\.mjs ran for more than 5 s: killed/);
  assert.equal(await one.limits.end(), 1);
  await isGone(one.started());
});

test("kills processes that a file leaves running, and counts that as a failure", async () => {
  using one = await run(
    "test('passes', async () => { leave(); await new Promise((r) => setTimeout(r, 5000)); });",
    60_000,
  );
  assert.equal(await one.exited, 0);
  assert.equal(await one.limits.end(), 1);
  assert.match(one.said[0]!, /sample\.test\.mjs left processes running/);
  await isGone(one.started());
});

test("reports nothing for a file that ends in time and leaves nothing", async () => {
  using one = await run("test('passes', () => {});", 60_000);
  assert.equal(await one.exited, 0);
  assert.equal(await one.limits.end(), 0);
  assert.deepEqual(one.said, []);
});

async function isGone(pid: number): Promise<void> {
  assert.ok(pid > 0, "it has started nothing");
  await until(`process ${pid} is gone`, () => !isAlive(pid));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

// Or a test file that has just started is killed.
test("the age that ps prints of a new process is ignored", () => {
  assert.equal(ageOf("441077234-00:18:40", 60_000), 0);
  assert.deepEqual(
    ["00:59", "01:02", "01:00:00", "1-00:00:01"].map((etime) => ageOf(etime, 100_000_000)),
    [59_000, 62_000, 3_600_000, 86_401_000],
  );
});
