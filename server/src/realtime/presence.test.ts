import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseShown } from "./presence.ts";

const crowd = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `user ${from + index}`);

/** The users of each workspace that are shown, and what changes with each call. */
function openShown() {
  const shownOf = new Map<string, Set<string>>();
  return {
    update(workspaceId: string, online: readonly string[]) {
      const before = shownOf.get(workspaceId) ?? new Set();
      const users = chooseShown(before, new Set(online));
      shownOf.set(workspaceId, users);
      return { users: [...users], came: [...users.difference(before)], left: [...before.difference(users)] };
    },
  };
}

test("all users of a few are shown as they come online and leave", () => {
  const shown = openShown();
  assert.deepEqual(shown.update("w", ["ana", "bea"]), { users: ["ana", "bea"], came: ["ana", "bea"], left: [] });
  assert.deepEqual(shown.update("w", ["bea", "carl"]), { users: ["bea", "carl"], came: ["carl"], left: ["ana"] });
  assert.deepEqual(shown.update("w", []), { users: [], came: [], left: ["bea", "carl"] });
});

// Without a bound each of ten thousand who come would be frames to each of the others.
test("of ten thousand users the first hundred are shown, and others when one of these leaves", () => {
  const shown = openShown();
  assert.deepEqual(shown.update("w", crowd(10_000)).came, crowd(100));
  assert.deepEqual(shown.update("w", crowd(10_001)), { users: crowd(100), came: [], left: [] });
  const { came, left } = shown.update("w", crowd(9_998, 2));
  assert.deepEqual([came, left], [crowd(2, 100), crowd(2)]);
  assert.deepEqual(shown.update("another", ["ana"]).users, ["ana"]);
});
