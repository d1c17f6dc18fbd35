import assert from "node:assert/strict";
import { test } from "node:test";
import { atLeastTimes, atMost, atMostTimes, compare, median, once, quantile, row, several } from "./measure.ts";

test("medians and quantiles lie between the nearest values", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(quantile([10, 20, 30, 40, 50], 1), 50);
  assert.equal(quantile([10, 20], 0.25), 12.5);
});

test("a ratio is the median over pairs, so a turn in which the machine was slow changes it little", () => {
  // In the third pair the machine was ten times slower for both.
  const figures = compare([100, 102, 10, 98, 101], [200, 200, 20, 200, 200]);
  assert.equal(figures.ratio, 0.5);
  assert.deepEqual(figures.ratio_range, [0.49, 0.51]);
  assert.equal(figures.value, 100);
  assert.deepEqual(figures.range, [10, 102]);
  assert.equal(figures.pairs, 5);
});

test("a row holds when each of its goals holds", () => {
  const figures = compare([300], [250]);
  const { goal, holds } = row({ name: "e2e.cpu", unit: "µs" }, figures, atMostTimes(1.4), atMost(330));
  assert.equal(goal, "<= 1.4 ×, <= 330 µs");
  assert.equal(holds, true);
  assert.equal(row({ name: "e2e.cpu", unit: "µs" }, figures, atMostTimes(1.4), atMost(299)).holds, false);
  assert.equal(row({ name: "accept", unit: "/s" }, figures, atLeastTimes(1.2)).holds, true);
  assert.equal(row({ name: "accept", unit: "/s" }, figures).holds, null);
});

test("a figure without a reference has its range only", () => {
  assert.deepEqual(several([3, 1, 2]), {
    value: 2,
    range: [1, 3],
    reference: null,
    ratio: null,
    ratio_range: null,
    pairs: null,
  });
  assert.equal(once(12, 24).ratio, 0.5);
});
