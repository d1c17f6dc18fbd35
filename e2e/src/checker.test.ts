import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Checker, listLength, openChecker } from "./checker.ts";

const ana = "whatsapp:+5511999991111";
const bia = "telegram:77";

test("messages accepted and received once and in order are fine", () => {
  const checker = openChecker();
  for (const seq of [1, 2, 3]) accept(checker, seq, [ana, bia]);
  for (const recipient of [bia, ana]) for (const seq of [1, 2, 3]) checker.received({ recipient, key: `m${seq}` });
  const report = checker.report();
  assert.equal(report.ok, true);
  assert.deepEqual([report.counts.accepted, report.counts.expected, report.counts.received], [3, 6, 6]);
});

test("a message that one recipient never got is lost", () => {
  const checker = openChecker();
  accept(checker, 1, [ana, bia]);
  checker.received({ recipient: ana, key: "m1" });
  const { ok, lost } = checker.report();
  assert.equal(ok, false);
  assert.deepEqual(lost, [{ conversation: "c", seq: 1, messageId: "id-1", recipient: bia, key: "m1" }]);
});

test("a message may be received before its 202 was seen", () => {
  const checker = openChecker();
  checker.received({ recipient: ana, key: "m1" });
  assert.equal(checker.report().unexpected.length, 1);
  accept(checker, 1, [ana]);
  assert.equal(checker.report().ok, true);
});

test("a message that was not sent is unexpected; one that may have been accepted may arrive or not", () => {
  const checker = openChecker();
  checker.maybeAccepted({ conversation: "c", key: "arrived", recipients: [ana] });
  checker.maybeAccepted({ conversation: "c", key: "did not", recipients: [ana] });
  checker.received({ recipient: ana, key: "arrived" });
  assert.equal(checker.report().ok, true);
  checker.received({ recipient: ana, key: "from nowhere" });
  assert.deepEqual(checker.report().unexpected, [{ recipient: ana, key: "from nowhere" }]);
});

test("a message may arrive once more for each attempt without a response", () => {
  const checker = openChecker();
  accept(checker, 1, [ana]);
  checker.received({ recipient: ana, key: "m1" });
  checker.received({ recipient: ana, key: "m1" });
  assert.equal(checker.report().duplicated.length, 1);
  checker.unknownAttempt({ recipient: ana, key: "m1" });
  assert.equal(checker.report().ok, true);
  assert.deepEqual(checker.report().excusedDuplicates, [{ recipient: ana, key: "m1", times: 2, unknownAttempts: 1 }]);
  checker.received({ recipient: ana, key: "m1" });
  assert.equal(checker.report().ok, false);
});

test("order is checked for each conversation and recipient, by first receipts", () => {
  const checker = openChecker();
  for (const seq of [1, 2, 3]) accept(checker, seq, [ana]);
  checker.accepted({ conversation: "d", seq: 1, messageId: "d1", text: "other", recipients: [ana] });
  for (const key of ["m1", "m3", "other", "m1", "m2"]) checker.received({ recipient: ana, key });
  assert.deepEqual(checker.report().outOfOrder, [{ conversation: "c", recipient: ana, seq: 2, after: 3, key: "m2" }]);
});

test("a status after a higher one is a step back", () => {
  const checker = openChecker();
  for (const status of ["accepted", "in_transit", "sent", "sent", "read"]) checker.status({ deliveryId: "d", status });
  assert.equal(checker.report().ok, true);
  checker.status({ deliveryId: "d", status: "delivered" });
  assert.deepEqual(checker.report().movedBack, [{ deliveryId: "d", from: "read", to: "delivered" }]);
});

test("a replayed dead letter starts again", () => {
  const checker = openChecker();
  checker.status({ deliveryId: "d", status: "failed" });
  checker.status({ deliveryId: "d", status: "in_transit", isReplay: true });
  checker.status({ deliveryId: "d", status: "sent" });
  assert.equal(checker.report().ok, true);
  checker.status({ deliveryId: "d", status: "in_transit" });
  assert.equal(checker.report().ok, false);
});

test("a seq that is missing, given twice or changed is found", () => {
  const checker = openChecker();
  for (const seq of [1, 2, 4]) accept(checker, seq, []);
  accept(checker, 4, []);
  assert.deepEqual(checker.report().gaps, [{ conversation: "c", seq: 3, problem: "missing" }]);
  checker.maybeAccepted({ conversation: "c", key: "perhaps 3", recipients: [ana] });
  assert.equal(checker.report().ok, true);
  checker.accepted({ conversation: "c", seq: 3, messageId: "id-4", key: "m4", recipients: [] });
  checker.accepted({ conversation: "c", seq: 2, messageId: "id-5", key: "m5", recipients: [] });
  assert.deepEqual(
    checker.report().gaps.map(({ problem }) => problem),
    ["changed", "given twice"],
  );
});

test("lists are limited, and counts are complete", () => {
  const checker = openChecker();
  for (let seq = 1; seq <= 100; seq += 1) accept(checker, seq, [ana]);
  const { lost, counts } = checker.report();
  assert.equal(lost.length, listLength);
  assert.equal(counts.lost, 100);
});

interface Sent {
  conversation: number;
  recipients: number[];
}

test("the checker finds the same faults as a naive model, for any events in any order", () => {
  const message = fc.record({
    conversation: fc.nat(2),
    recipients: fc.uniqueArray(fc.nat(2), { maxLength: 3 }),
  });
  const receipts = fc.array(fc.record({ message: fc.nat(12), recipient: fc.nat(2) }), { maxLength: 40 });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 12 }),
      receipts,
      receipts,
      fc.boolean(),
      (sent, got, unknown, isLate) => {
        const checker = openChecker();
        const numbered = number(sent);
        const report = () => {
          for (const [index, one] of numbered.entries()) {
            const { conversation, seq } = one;
            checker.accepted({
              conversation: `c${conversation}`,
              seq,
              messageId: `${index}`,
              key: `${index}`,
              recipients: one.recipients.map(String),
            });
          }
        };
        if (!isLate) report();
        for (const { message, recipient } of got) checker.received({ recipient: `${recipient}`, key: `${message}` });
        for (const one of unknown) checker.unknownAttempt({ recipient: `${one.recipient}`, key: `${one.message}` });
        if (isLate) report();
        const { counts } = checker.report();

        const pairs = numbered.flatMap((one, index) =>
          one.recipients.map((recipient) => ({ ...one, index, recipient })),
        );
        const times = (list: typeof got, message: number, recipient: number) =>
          list.filter((one) => one.message === message && one.recipient === recipient).length;
        const distinct = [...new Set(got.map((one) => `${one.recipient} ${one.message}`))].map((pair) => {
          const [recipient, message] = pair.split(" ").map(Number);
          return { recipient: recipient!, message: message! };
        });
        const isSent = (one: { message: number; recipient: number }) =>
          pairs.some((pair) => pair.index === one.message && pair.recipient === one.recipient);
        const late = distinct.filter(
          (one, place) =>
            isSent(one) &&
            distinct.slice(0, place).some((earlier) => {
              const [a, b] = [numbered[earlier.message], numbered[one.message]!];
              return (
                isSent(earlier) &&
                earlier.recipient === one.recipient &&
                a!.conversation === b.conversation &&
                a!.seq > b.seq
              );
            }),
        );
        const repeated = distinct.filter((one) => times(got, one.message, one.recipient) > 1);
        const excused = repeated.filter(
          (one) => times(got, one.message, one.recipient) - 1 <= times(unknown, one.message, one.recipient),
        );
        assert.deepEqual(
          [counts.lost, counts.unexpected, counts.duplicated, counts.excusedDuplicates, counts.outOfOrder, counts.gaps],
          [
            pairs.filter((pair) => times(got, pair.index, pair.recipient) === 0).length,
            distinct.filter((one) => !isSent(one)).length,
            repeated.length - excused.length,
            excused.length,
            late.length,
            0,
          ],
        );
      },
    ),
    { numRuns: 300 },
  );
});

// The bench runs it over all it sends: a checker that is quadratic would be what is measured.
test("messages in the hundreds of thousands are checked in linear time", () => {
  const checker = openChecker();
  const total = 300_000;
  for (let i = 0; i < total; i += 1) {
    const recipients = [`whatsapp:+55119${i % 1_000}`];
    checker.accepted({
      conversation: `c${i % 1_000}`,
      seq: Math.floor(i / 1_000) + 1,
      messageId: `id${i}`,
      key: `m${i}`,
      recipients,
    });
  }
  for (let i = 0; i < total; i += 1) checker.received({ recipient: `whatsapp:+55119${i % 1_000}`, key: `m${i}` });
  const report = checker.report();
  assert.equal(report.ok, true);
  assert.equal(report.counts.received, total);
});

function accept(checker: Checker, seq: number, recipients: string[]): void {
  checker.accepted({ conversation: "c", seq, messageId: `id-${seq}`, key: `m${seq}`, recipients });
}

function number(sent: Sent[]): (Sent & { seq: number })[] {
  const last = new Map<number, number>();
  return sent.map((one) => {
    const seq = (last.get(one.conversation) ?? 0) + 1;
    last.set(one.conversation, seq);
    return { ...one, seq };
  });
}
