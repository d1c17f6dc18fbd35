import { mkdtemp, open, rm } from "node:fs/promises";
import { availableParallelism, cpus, release, tmpdir, totalmem, type } from "node:os";
import { join } from "node:path";
import { median } from "./measure.ts";

export interface Machine {
  cpu: string;
  cores: number;
  memory_gib: number;
  os: string;
  node: string;
  /** How long the disk takes to make a page durable, in microseconds, median. */
  fdatasync_us: number;
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model ?? process.arch,
    cores: availableParallelism(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.versions.node,
    fdatasync_us: await measureSync(),
  };
}

const syncs = 100;

async function measureSync(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "chat4all-bench-"));
  try {
    await using file = await open(join(folder, "page"), "w");
    const page = Buffer.alloc(8192, 1);
    const times: number[] = [];
    for (let index = 0; index < syncs; index += 1) {
      const startedAt = performance.now();
      await file.write(page, 0, page.length, index * page.length);
      await file.datasync();
      times.push((performance.now() - startedAt) * 1000);
    }
    return Math.round(median(times));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
