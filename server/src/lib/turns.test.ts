import assert from "node:assert/strict";
import { test } from "node:test";
import { openTurns } from "./turns.ts";

const open = () => openTurns({ shortestMs: 1_000, longestMs: 1_050, apartMs: 10 });

test("turns come one after the other, from the shortest wait to the longest", () => {
  const turns = open();
  const taken = Array.from({ length: 8 }, () => turns.take(500));
  assert.deepEqual(taken, [1_500, 1_510, 1_520, 1_530, 1_540, 1_550, 1_550, 1_550]);
});

test("the first turn after a pause is a shortest wait away", () => {
  const turns = open();
  turns.take(0);
  assert.equal(turns.take(5_000), 6_000);
});
