import assert from "node:assert/strict";
import { test } from "node:test";
import { takeTurns } from "./turns.ts";

test("two sides take turns A B B A after one that does not count", async () => {
  const order: string[] = [];
  const side = (name: string) => async () => order.push(name);
  const seen: [number, number, number][] = [];
  const turns = await takeTurns({ a: side("A"), b: side("B") }, 4, ({ a, b }, pair) => seen.push([pair, a, b]));
  assert.equal(order.join(""), `BA${"ABBA".repeat(2)}`);
  assert.deepEqual(turns, { a: [3, 6, 7, 10], b: [4, 5, 8, 9] });
  assert.deepEqual(
    seen.map(([pair]) => pair),
    [1, 2, 3, 4],
  );
});
