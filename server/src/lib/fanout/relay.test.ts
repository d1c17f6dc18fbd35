import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../testing/until.ts";
import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { Relay } from "./relay.ts";

const hasty = { ...systemClock, after: (ms: number, call: () => void) => systemClock.after(ms / 50, call) };

function openTestRelay(send: (payloads: string[]) => Promise<void>) {
  const lines: string[] = [];
  const note = (_fields: object, message: string) => void lines.push(message);
  const log: Log = { info: note, warn: note, error: note };
  return { lines, relay: new Relay({ clock: hasty, log, maxPayloadBytes: 7_900, send }) };
}

// A NOTIFY may fail while all connections that listen are open: only the next payload can say that one is missing.
test("messages that could not be sent are not sent again, and the next payload notifies the others of the loss", async () => {
  const { relay: other } = openTestRelay(async () => {});
  const received: string[] = [];
  other.subscribe("events", (message) => void received.push(message));
  other.onReconnect(() => void received.push("loss"));
  let failures = 3;
  const { relay, lines } = openTestRelay(async (payloads) => {
    failures -= 1;
    if (failures >= 0) throw new Error("the server is away");
    for (const payload of payloads) other.receive(payload);
  });
  relay.publish("events", "a");
  relay.publish("events", "b");
  await until("the others are notified of the loss", () => received.length > 0);
  relay.publish("events", "c");
  await until("the others receive the later message", () => received.at(-1) === "c");
  assert.deepEqual(received, ["loss", "c"]);
  assert.deepEqual(lines, ["fan-out: messages to other processes were dropped", "fan-out: messages are sent again"]);
});

test("closing takes a second at most, also when nothing can be sent", async () => {
  for (const send of [() => Promise.reject(new Error("away")), () => new Promise<void>(() => {})]) {
    const { relay } = openTestRelay(send);
    relay.publish("events", "a");
    relay.publish("events", "b");
    await relay[Symbol.asyncDispose]();
  }
});
