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

/** `killsServer`: the test kills it, so nobody else may be on it. */
export type OpenHarness = (options?: { killsServer?: boolean }) => Promise<FanoutHarness>;

/** Promised by every engine, also by that of a process that is alone. */
export function ownMessagesSuite(open: () => Promise<{ open(): Promise<Fanout> } & AsyncDisposable>): void {
  test("a process receives its own messages in order, after the publishing code has run", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    const heard = collect(fanout, "news");
    for (const text of ["a", "b", "a"]) fanout.publish("news", text);
    assert.deepEqual(heard, []);
    await until("all messages are heard", () => heard.length >= 3);
    assert.deepEqual(heard, ["a", "b", "a"]);
  });

  test("a message that is too long or contains NUL is refused", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    assert.throws(() => fanout.publish("news", "x".repeat(maxMessageBytes + 1)), RangeError);
    assert.throws(() => fanout.publish("news", "é".repeat(maxMessageBytes / 2 + 1)), RangeError);
    assert.throws(() => fanout.publish("x".repeat(maxChannelBytes + 1), ""), RangeError);
    assert.throws(() => fanout.publish("news", "a\0b"), RangeError);
  });

  test("a listener that throws stops no other, and a removed one receives nothing", async () => {
    await using harness = await open();
    await using fanout = await harness.open();
    fanout.subscribe("news", () => assert.fail("a bug"));
    const end = fanout.subscribe("news", () => assert.fail("it has ended"));
    end();
    end();
    const heard = collect(fanout, "news");
    fanout.publish("news", "on");
    await until("the message is heard", () => heard.length === 1);
  });

  test("after closing nothing is received, and closing twice is safe", async () => {
    await using harness = await open();
    const fanout = await harness.open();
    const heard = collect(fanout, "news");
    await fanout[Symbol.asyncDispose]();
    await fanout[Symbol.asyncDispose]();
    fanout.publish("news", "late");
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(heard, []);
  });
}

/** Promised by engines that join several processes. */
export function sharedFanoutSuite(open: OpenHarness): void {
  test("other processes receive every message once, in the order of its publisher, by channel", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const [ownNews, news, sports] = [collect(one, "news"), collect(two, "news"), collect(two, "sports")];
    const expected = Array.from({ length: 500 }, (_, index) => `message ${index}`);
    for (const text of expected) {
      one.publish("news", text);
      one.publish("sports", `${text}!`);
    }
    await until("all messages are heard", () => news.length >= 500 && sports.length >= 500);
    assert.deepEqual(news, expected);
    assert.deepEqual(ownNews, expected);
    assert.deepEqual(
      sports,
      expected.map((text) => `${text}!`),
    );
  });

  test("any text arrives unchanged, and the longest as often as it was published", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const channel = "ação 12 5 ' \" \\ {,}";
    const heard = collect(two, channel);
    const longest = "é".repeat(maxMessageBytes / 2);
    const texts = ["", "3 4 é日本🙂", "line\r\nline", `{"a":"\\u0000"}`, "'; --", "NULL", longest, longest, longest];
    for (const text of texts) one.publish(channel, text);
    await until("all messages are heard", () => heard.length >= texts.length);
    assert.deepEqual(heard, texts);
  });

  test("thousands of messages share a few payloads", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const heard = collect(two, "news");
    await using payloads = await harness.countPayloads();
    for (let i = 0; i < 5_000; i += 1) one.publish("news", `message ${i}`);
    await until("all messages are heard", () => heard.length === 5_000);
    await until("a payload is counted", () => payloads.count() > 0);
    assert.ok(payloads.count() < 50, `there were ${payloads.count()} payloads`);
  });

  test("when more is published than can be sent, the oldest are dropped, and listeners are asked to poll", async () => {
    await using harness = await open();
    await using one = await harness.open();
    await using two = await harness.open();
    const heard = collect(two, "news");
    const looks = countReconnects(two);
    const ownLooks = countReconnects(one);
    const total = maxWaitingMessages + 1_000;
    for (let i = 0; i < total; i += 1) one.publish("news", String(i));
    await until("the newest message is heard", () => heard.at(-1) === String(total - 1));
    assert.ok(heard.length <= maxWaitingMessages + 1, `${heard.length} were kept`);
    assert.deepEqual(
      heard.slice(-maxWaitingMessages),
      Array.from({ length: maxWaitingMessages }, (_, index) => String(total - maxWaitingMessages + index)),
    );
    assert.equal(looks(), 1);
    assert.equal(ownLooks(), 0);
    assert.equal(harness.warnings.length, 1);
  });

  // What was published meanwhile is lost to others: everybody must know that something may be.
  test("after a restart of the server messages arrive again, and listeners are asked to poll", async () => {
    await using harness = await open({ killsServer: true });
    await using one = await harness.open();
    await using two = await harness.open();
    const looks = [countReconnects(one), countReconnects(two)];
    const [own, others] = [collect(one, "news"), collect(two, "news")];
    one.publish("news", "before");
    await until("the message is heard", () => others.length === 1);
    assert.deepEqual(
      looks.map((count) => count()),
      [0, 0],
    );
    await harness.killServer();
    one.publish("news", "meanwhile");
    await until("a process hears itself without the server", () => own.includes("meanwhile"));
    await harness.startServer();
    await until("all subscribers are told to look", () => looks.every((count) => count() > 0));
    await until("the others hear again after the server came back", () => {
      one.publish("news", "after");
      return others.includes("after");
    });
  });

  test("messages published just before closing are still sent", async () => {
    await using harness = await open();
    const one = await harness.open();
    await using two = await harness.open();
    const heard = collect(two, "news");
    for (const text of ["a", "b", "c"]) one.publish("news", text);
    await one[Symbol.asyncDispose]();
    await until("all messages are heard", () => heard.length === 3);
  });
}

function collect(fanout: Fanout, channel: string): string[] {
  const heard: string[] = [];
  fanout.subscribe(channel, (message) => void heard.push(message));
  return heard;
}

function countReconnects(fanout: Fanout): () => number {
  let count = 0;
  fanout.onReconnect(() => {
    count += 1;
  });
  return () => count;
}
