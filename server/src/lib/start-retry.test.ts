import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "./clock.ts";
import { StartError } from "./start-error.ts";
import { startTimeoutMs } from "./start-progress.ts";
import { openStartRetry } from "./start-retry.ts";

const log = { info() {}, warn() {}, error() {} };

/** With a clock that a test moves. */
function openRetry(isEmbedded: boolean) {
  let elapsed = 0;
  const waits: string[] = [];
  const stopping = new AbortController();
  const clock = { ...systemClock, elapsed: () => elapsed };
  const retry = openStartRetry({
    isEmbedded,
    clock,
    log,
    waitFor: (what) => waits.push(what),
    signal: stopping.signal,
  });
  const advance = (ms: number) => {
    elapsed += ms;
  };
  return { retry, waits, advance, stop: () => stopping.abort() };
}

test("retries while a new connection times out, and names what it waits for", async () => {
  const { retry, waits } = openRetry(true);
  let tries = 0;
  const result = await retry(async () => {
    tries += 1;
    if (tries < 3) throw new Error("timeout expired");
    return "done";
  });
  assert.equal(result, "done");
  assert.deepEqual(waits, ["the database to respond", "the database to respond"]);
});

for (const [isEmbedded, sentence] of [
  [false, "The database of DATABASE_URL cannot be used (timeout expired): start it, or correct the URL."],
  [true, "The embedded database does not respond (timeout expired): try again when this machine is less busy."],
] as const) {
  test(`gives up after 60 s with one sentence, with ${isEmbedded ? "the embedded" : "another"} database`, async () => {
    const { retry, advance } = openRetry(isEmbedded);
    const work = async () => {
      advance(startTimeoutMs);
      throw new Error("timeout expired");
    };
    await assert.rejects(retry(work), (error) => error instanceof StartError && error.message === sentence);
  });
}

test("throws every other error at once", async () => {
  const { retry } = openRetry(false);
  const mistake = new TypeError("a bug");
  await assert.rejects(
    retry(async () => {
      throw mistake;
    }),
    mistake,
  );
});

test("ends at once when the start is to stop, during the work and during the pause", async () => {
  const working = openRetry(false);
  const never = working.retry(() => new Promise<never>(() => {}));
  working.stop();
  await assert.rejects(never, { name: "AbortError" });

  const pausing = openRetry(false);
  let tries = 0;
  const refused = pausing.retry(async () => {
    tries += 1;
    throw new Error("timeout expired");
  });
  while (pausing.waits.length === 0) await Promise.resolve();
  pausing.stop();
  await assert.rejects(refused, { name: "AbortError" });
  assert.equal(tries, 1);
});
