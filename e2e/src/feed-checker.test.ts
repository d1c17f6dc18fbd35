import assert from "node:assert/strict";
import { test } from "node:test";
import { checkStream, type FeedRecord, type ReceivedFrame, type Sight } from "./feed-checker.ts";

const feed: FeedRecord[] = Array.from({ length: 20 }, (_, index) => ({
  position: index + 1,
  identity: `event ${index % 7}`,
}));
/** Every third is not for the client, and the tenth is one that may arrive or not. */
const sees = ({ position }: FeedRecord): Sight => (position === 10 ? "maybe" : position % 3 === 0 ? "never" : "always");
const whole: ReceivedFrame[] = feed.filter((event) => sees(event) !== "never");

const check = (received: readonly ReceivedFrame[], more: { start?: number; clearedUpTo?: number } = {}) =>
  checkStream({ feed, start: 0, clearedUpTo: 0, received, sees, ...more }).map(
    ({ kind, position }) => `${kind} ${position}`,
  );

test("a stream equal to the feed is valid, with and without the optional events", () => {
  assert.deepEqual(check(whole), []);
  assert.deepEqual(check(whole.filter(({ position }) => position !== 10)), []);
  assert.deepEqual(
    check(
      whole.filter(({ position }) => position > 8),
      { start: 8 },
    ),
    [],
  );
});

test("any one event that is dropped, doubled or swapped with the next is found", () => {
  for (const [index, event] of whole.entries()) {
    const { position } = event;
    const expected = position === 10 ? [] : [`missing ${position}`];
    assert.deepEqual(check(whole.toSpliced(index, 1)), expected);
    assert.deepEqual(check(whole.toSpliced(index, 0, event)), [`twice ${position}`]);
    const next = whole[index + 1];
    if (next === undefined) continue;
    const swapped = check(whole.toSpliced(index, 2, next, event));
    assert.deepEqual(swapped, [...expected, `out of order ${position}`]);
  }
});

test("an event that is repeated after others is found", () => {
  const again = whole.slice(3, 6);
  assert.deepEqual(
    check([...whole.slice(0, 6), ...again, ...whole.slice(6)]),
    again.map(({ position }) => `twice ${position}`),
  );
});

test("an event that is of another workspace, invented or changed is found", () => {
  assert.deepEqual(check([...whole.slice(0, 2), feed[2]!, ...whole.slice(2)]), ["not theirs 3"]);
  assert.deepEqual(check([...whole, { position: 21, identity: "event 6" }]), ["unknown 21"]);
  assert.deepEqual(check(whole.with(4, { ...whole[4]!, identity: "event 99" })), [`another ${whole[4]!.position}`]);
});

test("a gap allows only deleted events to be missing", () => {
  const gap = { position: 12, identity: null };
  const after = whole.filter(({ position }) => position > 12);
  const received = [...whole.slice(0, 2), gap, ...after];
  assert.deepEqual(check(received, { clearedUpTo: 5 }), []);
  assert.deepEqual(check(received), ["needless gap 12"]);
  const atLast = whole.findLast(({ position }) => position < 12)!.position;
  const caughtUp = [...whole.filter(({ position }) => position < 12), gap, ...after];
  assert.deepEqual(check(caughtUp, { clearedUpTo: atLast }), []);
  assert.deepEqual(check(caughtUp, { clearedUpTo: atLast - 1 }), ["needless gap 12"]);
  assert.deepEqual(check([...received.slice(0, 3), ...after.slice(1)], { clearedUpTo: 5 }), ["missing 13"]);
  assert.deepEqual(check([...whole, gap], { clearedUpTo: 25 }), ["gap backwards 12"]);
});

test("a stream that ends too early is found", () => {
  assert.deepEqual(check(whole.slice(0, -1)), ["missing 20"]);
  assert.equal(check([]).length, whole.length - 1);
});
