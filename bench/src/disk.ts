import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { quantile } from "./measure.ts";

/** How long the disk takes to make a page of 8 KiB durable (`fdatasync`), in microseconds. */
export interface DiskFigures {
  median_us: number;
  p99_us: number;
  samples: number;
}

export interface Disk extends AsyncDisposable {
  /** Before anything else ran. */
  readonly quiet: DiskFigures;
  /** Since then, beside what was measured. */
  during(): DiskFigures | null;
}

const pageBytes = 8_192;
const quietSamples = 100;
/** Rare enough to cost nothing. */
const everyMs = 500;
/** Pages of the file that is written again and again. */
const pages = 128;

/** Where the hubs keep their databases: the temporary folder. */
export async function openDisk(): Promise<Disk> {
  const folder = await mkdtemp(join(tmpdir(), "chat4all-bench-disk-"));
  const file = await open(join(folder, "page"), "w");
  const page = Buffer.alloc(pageBytes, 1);
  const closing = new AbortController();
  let index = 0;

  async function sample(): Promise<number> {
    const startedAt = performance.now();
    await file.write(page, 0, pageBytes, (index++ % pages) * pageBytes);
    await file.datasync();
    return (performance.now() - startedAt) * 1_000;
  }

  const before: number[] = [];
  for (let count = 0; count < quietSamples; count += 1) before.push(await sample());
  const seen: number[] = [];
  const sampling = (async () => {
    const { signal } = closing;
    for (;;) {
      await delay(everyMs, undefined, { signal, ref: false });
      seen.push(await sample());
    }
  })();
  sampling.catch(() => {}); // The last pause is cut short.
  return {
    quiet: summarise(before),
    during: () => (seen.length === 0 ? null : summarise(seen)),
    async [Symbol.asyncDispose]() {
      closing.abort();
      await sampling.catch(() => {});
      await file.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function summarise(times: readonly number[]): DiskFigures {
  return {
    median_us: Math.round(quantile(times, 0.5)),
    p99_us: Math.round(quantile(times, 0.99)),
    samples: times.length,
  };
}
