import { setTimeout as delay } from "node:timers/promises";
import { checkDelivered } from "../hub/check-delivered.ts";
import { waitUntilApplied } from "../hub/send-through.ts";
import { call } from "../hub/setup.ts";
import { conversationOf, numberOf, textOf } from "../load/requests.ts";
import { type Measure, once, quantile, row } from "../measure.ts";
import { moved, movedTo } from "../movement.ts";

const warmUp = 40;
const messagesPerPair = 40;
/** Between one message and the next: by then its receipts are received, and nothing else is under way. */
const pauseMs = 30;
const pollMs = 100;

/**
 * How long after its 202 a message is at the platform, when nothing else is under way. The platform notes when it got
 * a message in whole milliseconds, so half of one is added; a message that is there before its 202 counts as 0.
 */
export const e2eLatency: Measure = {
  names: ["e2e.latency.p50", "e2e.latency.p99"],
  async run(bench) {
    const stage = await bench.stage("whole");
    const { hub, authorization, inbox } = stage;
    const { conversationIds } = stage.traffic(1);
    const messages = warmUp + bench.plan.pairs * messagesPerPair;
    const first = stage.generator.reserve(messages);
    const acceptedAt = new Map<number, number>();
    const send = async (number: number) => {
      await call(hub.url, "/v1/messages", authorization, {
        conversation_id: conversationOf(number, conversationIds),
        payload: { type: "text", text: textOf(number) },
      });
      acceptedAt.set(number, performance.timeOrigin + performance.now());
      moved("a 202");
      await delay(pauseMs);
    };
    const startedAt = Date.now();
    const scene = { name: "e2e.latency", hub, generatorPid: null };
    await bench.observer.watch(scene, async () => {
      for (let number = first; number < first + messages; number += 1) await send(number);
      return { messages };
    });
    stage.count(messages);
    while (inbox.messages.length < stage.accepted) {
      await delay(pollMs);
      await inbox.read();
      movedTo(`${inbox.messages.length} of ${stage.accepted} messages reached the platform`);
    }
    await waitUntilApplied({ inbox, databaseUrl: hub.databaseUrl }, startedAt, "read");
    await checkDelivered(stage);
    const latencies = inbox.messages
      .map(({ text, receivedAt }) => ({ number: numberOf(text), receivedAt }))
      .filter(({ number }) => number >= first + warmUp && number < first + messages)
      .map(({ number, receivedAt }) => Math.max(0, receivedAt + 0.5 - acceptedAt.get(number)!));
    return [
      row({ name: "e2e.latency.p50", unit: "ms" }, once(quantile(latencies, 0.5))),
      row({ name: "e2e.latency.p99", unit: "ms" }, once(quantile(latencies, 0.99))),
    ];
  },
};
