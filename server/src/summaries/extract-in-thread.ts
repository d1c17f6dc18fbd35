import { Worker } from "node:worker_threads";
import type { Clock } from "../lib/clock.ts";
import type { ExtractiveOptions, ExtractiveSummary } from "./extractive.ts";
import { SummaryError } from "./summary-error.ts";

/**
 * `extractSummary` in a thread with the lowest priority, so that the event loop stays free. Throws DOCUMENT_TOO_LARGE
 * when it takes more than `maxExtractiveMs` or 128 MiB, or the reason of `signal`.
 */
export async function extractInThread(
  text: string,
  options: ExtractiveOptions,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<ExtractiveSummary> {
  signal.throwIfAborted();
  const ended = Promise.withResolvers<ExtractiveSummary>();
  const worker = new Worker(new URL("./extractive-thread.ts", import.meta.url), {
    workerData: { text, options },
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb, maxYoungGenerationSizeMb },
  });
  worker.on("message", ended.resolve);
  worker.on("error", (error) => ended.reject(isOutOfMemory(error) ? tooLarge(error) : error));
  worker.on("exit", (code) => ended.reject(new Error(`The thread that summarizes exited with ${code}.`)));
  const stopTimer = clock.after(maxExtractiveMs, () => ended.reject(tooLarge()));
  const cancel = () => ended.reject(signal.reason);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await ended.promise;
  } finally {
    stopTimer();
    signal.removeEventListener("abort", cancel);
    await worker.terminate();
  }
}

/** 16 MiB of text take about 5 s of CPU, and the thread has the lowest priority. */
export const maxExtractiveMs = 2 * 60_000;
const maxOldGenerationSizeMb = 128;
const maxYoungGenerationSizeMb = 8;

function isOutOfMemory(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ERR_WORKER_OUT_OF_MEMORY";
}

function tooLarge(cause?: unknown): SummaryError {
  return new SummaryError("DOCUMENT_TOO_LARGE", "The document takes longer to summarize than is allowed.", { cause });
}
