import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Lane, openLanes } from "./lanes.ts";

const limits = { perEndpoint: 4, share: { quick: 12, unknown: 3, troubled: 3 }, inAll: 12 };
const quick = { isQuickSuccess: true, isOrdered: false };
const bad = { isQuickSuccess: false, isOrdered: false };

/** Takes every turn there is, and fills all places. */
function fillAll(lanes: ReturnType<typeof openLanes>): Lane[] {
  const under: Lane[] = [];
  for (let turn = lanes.next(); turn !== null; turn = lanes.next()) {
    lanes.settle(turn.lane, turn.places, turn.places);
    for (let place = 0; place < turn.places; place += 1) under.push(turn.lane);
  }
  return under;
}

test("a lane begins with one request, widens with each quick success, and narrows with a failure", () => {
  const lanes = openLanes(limits);
  lanes.wake("a");
  let under = fillAll(lanes);
  assert.equal(under.length, 1);
  for (const width of [2, 4, 4]) {
    for (const lane of under) lanes.finish(lane, quick);
    under = fillAll(lanes);
    assert.equal(under.length, width);
  }
  for (const lane of under) lanes.finish(lane, bad);
  assert.equal(fillAll(lanes).length, 1);
});

test("however many endpoints hang, the quick ones keep half of the places, and new ones get in", () => {
  const lanes = openLanes(limits);
  lanes.wake("good");
  const [good] = fillAll(lanes);
  lanes.finish(good!, quick);
  for (let index = 0; index < 100; index += 1) lanes.wake(`new ${index}`);
  for (let index = 0; index < 100; index += 1) lanes.wake(`dead ${index}`, true);
  const under = fillAll(lanes);
  const countOf = (name: string) => under.filter((lane) => lane.endpointId.startsWith(name)).length;
  assert.deepEqual([countOf("good"), countOf("new"), countOf("dead")], [2, 3, 3]);
  const hung = under.find((lane) => lane.endpointId.startsWith("dead"))!;
  lanes.finish(hung, bad);
  const next = fillAll(lanes);
  assert.deepEqual(
    next.map((lane) => lane.endpointId),
    ["dead 3"],
    "endpoints take turns",
  );
  lanes.finish(under.find((lane) => lane.endpointId === "new 0")!, bad);
  assert.deepEqual(
    fillAll(lanes).map((lane) => lane.endpointId),
    ["new 3"],
    "one that turned out to be dead makes room for another that is new",
  );
});

test("an ordered endpoint never has two under way", () => {
  const lanes = openLanes(limits);
  lanes.wake("a");
  for (let turn = 0; turn < 5; turn += 1) {
    const under = fillAll(lanes);
    assert.equal(under.length, 1);
    lanes.finish(under[0]!, { isQuickSuccess: true, isOrdered: true });
  }
});

// A place that is lost is never found again: the hub would send slower and slower until it is restarted.
test("whatever happens, no place is lost, no limit is passed, and what has work gets its turn", () => {
  const step = fc.record({
    endpoint: fc.integer({ min: 0, max: 8 }),
    what: fc.constantFrom("wake", "dead", "turn", "half", "none", "quick", "bad"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const lanes = openLanes(limits);
      const under: Lane[] = [];
      for (const { endpoint, what } of steps) {
        if (what === "wake") lanes.wake(`${endpoint}`);
        else if (what === "dead") lanes.wake(`${endpoint}`, true);
        else if (what === "quick" || what === "bad") {
          const [lane] = under.splice(endpoint % Math.max(1, under.length), 1);
          if (lane !== undefined) lanes.finish(lane, what === "quick" ? quick : bad);
        } else {
          const turn = lanes.next();
          if (turn === null) continue;
          const filled = what === "turn" ? turn.places : what === "half" ? Math.floor(turn.places / 2) : 0;
          lanes.settle(turn.lane, turn.places, filled);
          for (let place = 0; place < filled; place += 1) under.push(turn.lane);
        }
        assert.equal(lanes.underWay, under.length);
        assert.ok(under.length <= limits.inAll);
        for (const of of Map.groupBy(under, (lane) => lane.endpointId).values()) {
          assert.ok(of.length <= limits.perEndpoint);
        }
      }
      for (const lane of under.splice(0)) lanes.finish(lane, quick);
      assert.equal(lanes.underWay, 0);
      for (let turn = lanes.next(); turn !== null; turn = lanes.next()) lanes.settle(turn.lane, turn.places, 0);
      lanes.wake("last");
      assert.equal(lanes.next()!.lane.endpointId, "last");
    }),
  );
});
