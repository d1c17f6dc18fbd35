import { setTimeout as delay } from "node:timers/promises";
import { checkDelivered } from "../hub/check-delivered.ts";
import { call } from "../hub/setup.ts";
import { openInbox } from "../hub/simulator.ts";
import { openStage } from "../hub/stage.ts";
import { conversationOf, numberOf, textOf } from "../load/requests.ts";
import { alone, type Measure } from "../measure.ts";

const people = 20;
const warmUp = 40;
const messages = 240;
/** Between one message and the next: by then its receipts are received, and nothing else is under way. */
const pauseMs = 30;
const settleMs = 2_000;

/**
 * How long after its 202 a message is at the platform, when nothing else is under way. The platform notes when it got
 * a message in whole milliseconds, so half of one is added; a message that is there before its 202 counts as 0.
 */
export const e2eLatency: Measure = {
  names: ["e2e.latency.p50", "e2e.latency.p99"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "all", people });
    const { hub, authorization } = stage;
    const inbox = openInbox(hub.simulatorUrl);
    const { conversationIds } = stage.traffic(1);
    const acceptedAt = new Map<number, number>();
    const send = async (number: number) => {
      await call(hub.url, "/v1/messages", authorization, {
        conversation_id: conversationOf(number, conversationIds),
        payload: { type: "text", text: textOf(number) },
      });
      acceptedAt.set(number, performance.timeOrigin + performance.now());
      await delay(pauseMs);
    };
    const scene = { name: "e2e.latency", hub, generatorPid: null };
    await bench.observer.watch(scene, async () => {
      for (let number = 1; number <= warmUp + messages; number += 1) await send(number);
      return { messages: warmUp + messages };
    });
    await delay(settleMs);
    await inbox.read();
    await checkDelivered(stage, inbox, warmUp + messages);
    const latencies = inbox.messages
      .map(({ text, receivedAt }) => ({ number: numberOf(text), receivedAt }))
      .filter(({ number }) => number > warmUp)
      .map(({ number, receivedAt }) => Math.max(0, receivedAt + 0.5 - acceptedAt.get(number)!))
      .sort((a, b) => a - b);
    const quantile = (share: number) => latencies[Math.ceil(latencies.length * share) - 1]!;
    return [
      alone({ name: "e2e.latency.p50", value: quantile(0.5), unit: "ms" }),
      alone({ name: "e2e.latency.p99", value: quantile(0.99), unit: "ms" }),
    ];
  },
};
