import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";

/** The variable by which the set-up of a run tells its test files how much longer than usual to wait. */
export const patienceVariable = "C4A_TEST_PATIENCE";

/** A time limit of a test, in milliseconds, stretched for a slow or busy machine. */
export const patient = (ms: number): number => ms * factor;

const factor = Number(process.env[patienceVariable]) || 1;

/**
 * How many times longer than usual tests wait on this machine, from 1 to 12: what starting Node.js and hashing takes now,
 * compared with an idle machine of 2 cores. Limits are wide anyway; this is for machines that are slow or busy
 * several times over.
 */
export function measurePatience(): number {
  const samples = Array.from({ length: 3 }, () => {
    const startedAt = performance.now();
    execFileSync(process.execPath, ["-e", "0"], { env: {} });
    const hash = createHash("sha256");
    const block = Buffer.alloc(1024 * 1024, 1);
    for (let megabytes = 0; megabytes < 64; megabytes += 1) hash.update(block);
    hash.digest();
    return (performance.now() - startedAt) / usualMs;
  });
  const median = samples.toSorted((a, b) => a - b)[1]!;
  return Math.min(12, Math.max(1, Math.round(median * 10) / 10));
}

const usualMs = 120;
