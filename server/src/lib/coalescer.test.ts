import assert from "node:assert/strict";
import { test } from "node:test";
import { openCoalescer, TooManyQuestions } from "./coalescer.ts";

/** Runs that end when the test says so. */
function held(bounds: { maxBatch?: number; maxWaiting?: number; maxRuns?: number } = {}) {
  const runs: { questions: readonly number[]; end: () => void; fail: (error: Error) => void }[] = [];
  const { ask } = openCoalescer<number, number>({
    maxBatch: 100,
    maxWaiting: 1_000,
    maxRuns: 2,
    ...bounds,
    run(questions) {
      const { promise, resolve, reject } = Promise.withResolvers<number[]>();
      runs.push({ questions, end: () => resolve(questions.map((n) => n * 10)), fail: reject });
      return promise;
    },
  });
  const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  return { ask, runs, turn };
}

test("questions of one turn share a run, and each gets its own answer", async () => {
  const { ask, runs, turn } = held();
  const answers = Promise.all([1, 2, 3].map(ask));
  await turn();
  assert.deepEqual(
    runs.map(({ questions }) => questions),
    [[1, 2, 3]],
  );
  runs[0]!.end();
  assert.deepEqual(await answers, [10, 20, 30]);
});

test("a run that hangs holds up nobody while there is another, and what comes meanwhile shares the next", async () => {
  const { ask, runs, turn } = held();
  const first = ask(1);
  await turn();
  const second = ask(2);
  await turn();
  const later = Promise.all([3, 4, 5].map(ask));
  await turn();
  assert.equal(runs.length, 2);
  runs[1]!.end();
  assert.equal(await second, 20);
  await turn();
  assert.deepEqual(runs[2]!.questions, [3, 4, 5]);
  runs[2]!.end();
  assert.deepEqual(await later, [30, 40, 50]);
  runs[0]!.end();
  assert.equal(await first, 10);
});

test("a run that fails fails its own questions alone, a run takes no more than it may, and so does the line", async () => {
  const { ask, runs, turn } = held({ maxBatch: 2, maxWaiting: 3, maxRuns: 1 });
  const asked = [1, 2, 3].map(ask);
  await assert.rejects(ask(4), TooManyQuestions);
  await turn();
  assert.deepEqual(runs[0]!.questions, [1, 2]);
  runs[0]!.fail(new Error("no database"));
  for (const answer of asked.slice(0, 2)) await assert.rejects(answer, /no database/);
  await turn();
  runs[1]!.end();
  assert.equal(await asked[2], 30);
});
