import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../testing/until.ts";
import { systemClock } from "../clock.ts";
import type { Log } from "../postgres.ts";
import { openRelay } from "./relay.ts";

const hasty = { ...systemClock, after: (ms: number, call: () => void) => systemClock.after(ms / 50, call) };

function openTestRelay(send: (payloads: string[]) => Promise<void>) {
  const lines: string[] = [];
  const note = (_fields: object, message: string) => void lines.push(message);
  const log: Log = { info: note, warn: note, error: note };
  return { lines, relay: openRelay({ clock: hasty, log, maxPayloadBytes: 7_900, send }) };
}

// A NOTIFY may fail while everybody still listens: nobody else would tell them that something is missing.
test("what could not be passed on is not said twice, and the others are told to look, with the next that can", async () => {
  const { relay: other } = openTestRelay(async () => {});
  const heard: string[] = [];
  other.subscribe("news", (message) => void heard.push(message));
  other.onReconnect(() => void heard.push("look"));
  let failures = 3;
  const { relay, lines } = openTestRelay(async (payloads) => {
    failures -= 1;
    if (failures >= 0) throw new Error("the server is away");
    for (const payload of payloads) other.receive(payload);
  });
  relay.publish("news", "a");
  relay.publish("news", "b");
  await until("the others hear the message", () => heard.length > 0);
  relay.publish("news", "c");
  await until("the others hear the later message", () => heard.at(-1) === "c");
  assert.deepEqual(heard, ["look", "c"]);
  assert.deepEqual(lines, [
    "fan-out: messages to other processes were dropped",
    "fan-out: messages are passed on again",
  ]);
});

test("the end comes soon, also when nothing can be passed on", async () => {
  for (const send of [() => Promise.reject(new Error("away")), () => new Promise<void>(() => {})]) {
    const { relay } = openTestRelay(send);
    relay.publish("news", "a");
    relay.publish("news", "b");
    await relay[Symbol.asyncDispose]();
  }
});
