import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { openTestClient, openTestFeeds, testPrincipal } from "../testing/test-feeds.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { chooseShown, flushEveryMs, Presence } from "./presence.ts";

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

// The disaster: a database that is down for a minute fills the log with hundreds of warnings.
test("presence that could not be published is retried after a pause, not at each flush", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const warnings: string[] = [];
  const log = { info() {}, warn: (_fields: object, message: string) => void warnings.push(message), error() {} };
  let flushWaits = 0;
  const clock = {
    ...systemClock,
    after(ms: number, call: () => void) {
      if (ms === flushEveryMs) flushWaits += 1;
      return systemClock.after(ms / 50, call);
    },
  };
  let isDown = true;
  let answers = 0;
  const query = async () => {
    if (isDown) throw new Error("the database does not respond");
    answers += 1;
    return { rows: [] };
  };
  await using fanout = openLocalFanout(log);
  const presence = new Presence({ db: { query } as never, fanout, feeds: process.feeds, clock, log });
  const { client } = openTestClient(testPrincipal(line, "member"));
  const feed = await process.feed();
  feed.join(client);
  await feed.catchUp(client, feed.head);
  presence.connected(client);
  await until("a failure is logged", () => warnings.length > 0);
  const before = flushWaits;
  await until("the retries fail too", () => warnings.length >= 4);
  assert.equal(flushWaits, before, "a retry came as soon as a flush");
  isDown = false;
  await until("it is published", () => answers > 0);
  await presence.close();
});
