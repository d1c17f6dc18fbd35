/** What any engine of the fan-out must promise: the same tests over each. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Fanout, maxChannelBytes, maxMessageBytes, maxWaitingMessages } from "../../lib/fanout/fanout.ts";
import { until } from "../until.ts";

/** One server, and as many processes' worth of fan-outs on it as a test opens. The tests close what they open. */
export interface FanoutHarness extends AsyncDisposable {
  open(): Promise<Fanout>;
  /** As `kill -9` does. */
  killServer(): Promise<void>;
  /** Resolves when it can be reached again. */
  startServer(): Promise<void>;
  /** How many payloads went over the server from now on. */
  countPayloads(): Promise<{ count(): number } & AsyncDisposable>;
  /** The lines that were logged as warnings. */
  readonly warnings: string[];
}

/** `killsServer`: the test kills the server, so no other test may use it. */
type OpenHarness = (options?: { killsServer?: boolean }) => Promise<FanoutHarness>;

/** Promised by every engine, also by that of a process that is alone. */
export function ownMessagesSuite(open: () => Promise<{ open(): Promise<Fanout> } & AsyncDisposable>): void {
  test("a process receives its own messages in order, after the publishing code has run", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    const received = collect(fanout, "events");
    for (const text of ["a", "b", "a"]) fanout.publish("events", text);
    assert.deepEqual(received, []);
    await until("all messages are received", () => received.length >= 3);
    assert.deepEqual(received, ["a", "b", "a"]);
  });

  test("a message that is too long or contains NUL is refused", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    assert.throws(() => fanout.publish("events", "x".repeat(maxMessageBytes + 1)), RangeError);
    assert.throws(() => fanout.publish("events", "é".repeat(maxMessageBytes / 2 + 1)), RangeError);
    assert.throws(() => fanout.publish("x".repeat(maxChannelBytes + 1), ""), RangeError);
    assert.throws(() => fanout.publish("events", "a\0b"), RangeError);
  });

  test("a listener that throws stops no other, and a removed one receives nothing", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    fanout.subscribe("events", () => assert.fail("a bug"));
    const end = fanout.subscribe("events", () => assert.fail("it has unsubscribed"));
    end();
    end();
    const received = collect(fanout, "events");
    fanout.publish("events", "on");
    await until("the message is received", () => received.length === 1);
  });

  test("after closing nothing is received, and closing twice is safe", async () => {
    await using harness = await open();
    const fanout = await harness.open();
    const received = collect(fanout, "events");
    await fanout[Symbol.asyncDispose]();
    await fanout[Symbol.asyncDispose]();
    fanout.publish("events", "late");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(received, []);
  });
}

/** Promised by engines that join several processes. */
export function sharedFanoutSuite(open: OpenHarness): void {
  test("other processes receive every message once, in the order of its publisher, by channel", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const [own, events, typing] = [collect(one, "events"), collect(two, "events"), collect(two, "typing")];
    const expected = Array.from({ length: 500 }, (_, index) => `message ${index}`);
    for (const text of expected) {
      one.publish("events", text);
      one.publish("typing", `${text}!`);
    }
    await until("all messages are received", () => events.length >= 500 && typing.length >= 500);
    assert.deepEqual(events, expected);
    assert.deepEqual(own, expected);
    assert.deepEqual(
      typing,
      expected.map((text) => `${text}!`),
    );
  });

  test("any text arrives unchanged, and the longest as often as it was published", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const channel = "ação 12 5 ' \" \\ {,}";
    const received = collect(two, channel);
    const longest = "é".repeat(maxMessageBytes / 2);
    const texts = ["", "3 4 é日本🙂", "line\r\nline", `{"a":"\\u0000"}`, "'; --", "NULL", longest, longest, longest];
    for (const text of texts) one.publish(channel, text);
    await until("all messages are received", () => received.length >= texts.length);
    assert.deepEqual(received, texts);
  });

  test("thousands of messages share a few payloads", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const received = collect(two, "events");
    await using payloads = await harness.countPayloads();
    for (let i = 0; i < 5_000; i += 1) one.publish("events", `message ${i}`);
    await until("all messages are received", () => received.length === 5_000);
    await until("a payload is counted", () => payloads.count() > 0);
    assert.ok(payloads.count() < 50, `there were ${payloads.count()} payloads`);
  });

  test("when more is published than can be sent, the oldest are dropped, and listeners are asked to poll", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const received = collect(two, "events");
    const reconnects = countReconnects(two);
    const ownReconnects = countReconnects(one);
    const total = maxWaitingMessages + 1_000;
    for (let i = 0; i < total; i += 1) one.publish("events", String(i));
    await until("the newest message is received", () => received.at(-1) === String(total - 1));
    assert.ok(received.length <= maxWaitingMessages + 1, `${received.length} were kept`);
    assert.deepEqual(
      received.slice(-maxWaitingMessages),
      Array.from({ length: maxWaitingMessages }, (_, index) => String(total - maxWaitingMessages + index)),
    );
    assert.equal(reconnects(), 1);
    assert.equal(ownReconnects(), 0);
    assert.equal(harness.warnings.length, 1);
  });

  // What was published meanwhile is lost: every process must be notified of that.
  test("after a restart of the server messages arrive again, and listeners are asked to poll", async () => {
    await using harness = await open({ killsServer: true });
    await using one = await harness.open();
    await using two = await harness.open();
    const reconnects = [countReconnects(one), countReconnects(two)];
    const [own, others] = [collect(one, "events"), collect(two, "events")];
    one.publish("events", "before");
    await until("the message is received", () => others.length === 1);
    assert.deepEqual(
      reconnects.map((count) => count()),
      [0, 0],
    );
    await harness.killServer();
    one.publish("events", "meanwhile");
    await until("a process receives its own message without the server", () => own.includes("meanwhile"));
    await harness.startServer();
    await until("all processes are notified of the loss", () => reconnects.every((count) => count() > 0));
    await until("the others receive messages after the server has started", () => {
      one.publish("events", "after");
      return others.includes("after");
    });
  });

  test("messages published just before closing are still sent", async () => {
    await using harness = await open();
    const one = await harness.open();
    await using two = await harness.open();
    const received = collect(two, "events");
    for (const text of ["a", "b", "c"]) one.publish("events", text);
    await one[Symbol.asyncDispose]();
    await until("all messages are received", () => received.length === 3);
  });
}

function collect(fanout: Fanout, channel: string): string[] {
  const received: string[] = [];
  fanout.subscribe(channel, (message) => void received.push(message));
  return received;
}

function countReconnects(fanout: Fanout): () => number {
  let count = 0;
  fanout.onReconnect(() => {
    count += 1;
  });
  return () => count;
}
