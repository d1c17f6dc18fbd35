import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EndpointQueue, type QueuedEndpoint } from "./endpoint-queue.ts";

const limits = { perEndpoint: 4, share: { quick: 12, unknown: 3, troubled: 3 }, inAll: 12 };
const quick = { isQuickSuccess: true, isOrdered: false };
const bad = { isQuickSuccess: false, isOrdered: false };

/** Takes every turn there is, and fills all places. */
function fillAll(queue: EndpointQueue): QueuedEndpoint[] {
  const under: QueuedEndpoint[] = [];
  for (let turn = queue.next(); turn !== null; turn = queue.next()) {
    queue.settle(turn, turn.places);
    for (let place = 0; place < turn.places; place += 1) under.push(turn.endpoint);
  }
  return under;
}

test("an endpoint starts with one request, gets more with each quick success, and one again after a failure", () => {
  const queue = new EndpointQueue(limits);
  queue.wake("a");
  let under = fillAll(queue);
  assert.equal(under.length, 1);
  for (const width of [2, 4, 4]) {
    for (const endpoint of under) queue.finish(endpoint, quick);
    under = fillAll(queue);
    assert.equal(under.length, width);
  }
  for (const endpoint of under) queue.finish(endpoint, bad);
  assert.equal(fillAll(queue).length, 1);
});

test("with any number of hanging endpoints, quick ones keep half of the places, and new ones get in", () => {
  const queue = new EndpointQueue(limits);
  queue.wake("good");
  const [good] = fillAll(queue);
  queue.finish(good!, quick);
  for (let index = 0; index < 100; index += 1) queue.wake(`new ${index}`);
  for (let index = 0; index < 100; index += 1) queue.wake(`dead ${index}`, true);
  const under = fillAll(queue);
  const countOf = (name: string) => under.filter((endpoint) => endpoint.endpointId.startsWith(name)).length;
  assert.deepEqual([countOf("good"), countOf("new"), countOf("dead")], [2, 3, 3]);
  const hung = under.find((endpoint) => endpoint.endpointId.startsWith("dead"))!;
  queue.finish(hung, bad);
  const next = fillAll(queue);
  assert.deepEqual(
    next.map((endpoint) => endpoint.endpointId),
    ["dead 3"],
    "endpoints take turns",
  );
  queue.finish(under.find((endpoint) => endpoint.endpointId === "new 0")!, bad);
  assert.deepEqual(
    fillAll(queue).map((endpoint) => endpoint.endpointId),
    ["new 3"],
    "one that turned out to be dead makes room for another that is new",
  );
});

test("an ordered endpoint never has two requests under way", () => {
  const queue = new EndpointQueue(limits);
  queue.wake("a");
  for (let turn = 0; turn < 5; turn += 1) {
    const under = fillAll(queue);
    assert.equal(under.length, 1);
    queue.finish(under[0]!, { isQuickSuccess: true, isOrdered: true });
  }
});

// A lost place never comes back: the hub would send slower and slower until it is restarted.
test("after any steps, no place is lost, no limit is exceeded, and an endpoint with work gets its turn", () => {
  const step = fc.record({
    id: fc.integer({ min: 0, max: 8 }),
    what: fc.constantFrom("wake", "dead", "turn", "half", "none", "quick", "bad"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new EndpointQueue(limits);
      const under: QueuedEndpoint[] = [];
      for (const { id, what } of steps) {
        if (what === "wake") queue.wake(`${id}`);
        else if (what === "dead") queue.wake(`${id}`, true);
        else if (what === "quick" || what === "bad") {
          const [endpoint] = under.splice(id % Math.max(1, under.length), 1);
          if (endpoint !== undefined) queue.finish(endpoint, what === "quick" ? quick : bad);
        } else {
          const turn = queue.next();
          if (turn === null) continue;
          const filled = what === "turn" ? turn.places : what === "half" ? Math.floor(turn.places / 2) : 0;
          queue.settle(turn, filled);
          for (let place = 0; place < filled; place += 1) under.push(turn.endpoint);
        }
        assert.equal(queue.underWay, under.length);
        assert.ok(under.length <= limits.inAll);
        for (const of of Map.groupBy(under, (endpoint) => endpoint.endpointId).values()) {
          assert.ok(of.length <= limits.perEndpoint);
        }
      }
      for (const endpoint of under.splice(0)) queue.finish(endpoint, quick);
      assert.equal(queue.underWay, 0);
      for (let turn = queue.next(); turn !== null; turn = queue.next()) queue.settle(turn, 0);
      queue.wake("last");
      assert.equal(queue.next()!.endpoint.endpointId, "last");
    }),
  );
});
