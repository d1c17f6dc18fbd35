import assert from "node:assert/strict";
import { test } from "node:test";
import { openShownUsers } from "./shown-users.ts";

const crowd = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `user ${from + index}`);

test("a few are all shown as they come and go", () => {
  const shown = openShownUsers();
  assert.deepEqual(shown.update("w", ["ana", "bea"]), { users: ["ana", "bea"], came: ["ana", "bea"], left: [] });
  assert.deepEqual(shown.update("w", ["bea", "carl"]), { users: ["bea", "carl"], came: ["carl"], left: ["ana"] });
  assert.deepEqual(shown.update("w", []), { users: [], came: [], left: ["bea", "carl"] });
});

// Without a bound each of ten thousand who come would be told to each of the others.
test("of a crowd the first hundred are shown, and others as places become free", () => {
  const shown = openShownUsers();
  assert.deepEqual(shown.update("w", crowd(10_000)).came, crowd(100));
  assert.deepEqual(shown.update("w", crowd(10_001)), { users: crowd(100), came: [], left: [] });
  const { came, left } = shown.update("w", crowd(9_998, 2));
  assert.deepEqual([came, left], [crowd(2, 100), crowd(2)]);
  assert.deepEqual(shown.update("another", ["ana"]).users, ["ana"]);
});
