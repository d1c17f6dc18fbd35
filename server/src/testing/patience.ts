import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The variable that gives the test files of a run the factor of their time limits. */
export const patienceVariable = "C4A_TEST_PATIENCE";

/** A time limit of a test, in whole milliseconds, stretched for a slow or busy machine. */
export const patient = (ms: number): number => Math.round(ms * factor);

const factor = Number(process.env[patienceVariable]) || 1;

/**
 * How many times longer than usual tests wait on this machine, from 1 to 12: how long it now takes to start Node.js and to
 * hash in as many processes at once as a run has test files at once, compared with one process on an idle machine. On 2
 * idle cores it is about 1.4. Limits are wide anyway; this is for machines that are slow or busy several times over.
 */
export async function measurePatience(processes = filesAtOnce): Promise<number> {
  const samples: number[] = [];
  for (let sample = 0; sample < 3; sample += 1) {
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: processes }, () => run(process.execPath, ["-e", work], { env: {} })));
    samples.push((performance.now() - startedAt) / usualMs);
  }
  const median = samples.toSorted((a, b) => a - b)[1]!;
  return Math.min(12, Math.max(1, Math.round(median * 10) / 10));
}

const run = promisify(execFile);
/** As in the `test` script of package.json. */
const filesAtOnce = 3;
const usualMs = 300;
const work = `
  const hash = require("node:crypto").createHash("sha256");
  const block = Buffer.alloc(1024 * 1024, 1);
  for (let megabytes = 0; megabytes < 256; megabytes += 1) hash.update(block);
  hash.digest();
`;
