import { sendThrough } from "../hub/send-through.ts";
import { sendReceiptsUpTo } from "../hub/simulator.ts";
import { receiptTraffic } from "../hub/webhook-traffic.ts";
import { startGenerator } from "../load/generator.ts";
import type { Pace } from "../load/run-load.ts";
import { atMost, type Measure, row, several } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { describeCost } from "../watch/cpu.ts";
import { partsOf } from "../watch/observer.ts";
import { settle } from "../watch/settle.ts";
import { halfOf } from "./references.ts";

const messagesPerPair = 300;
/** As many as the platform has open. */
const busyConnections = 16;
const openConnections = 128;
/** So few that one gets its response before the next leaves. */
const lonePerSecond = 50;
/** A turn at that rate is longer, so that its p99 is not its longest. */
const loneTurns = 2;

/**
 * From when a signed WhatsApp webhook with one receipt is due until its 200: alone, and at half of the most that this
 * machine takes. The hub applies the receipts as it goes; when each message is read, further receipts change nothing.
 */
export const webhookP99: Measure = {
  names: ["webhook.p99", "webhook.p99.alone"],
  async run(bench) {
    const { pairs, turnMs } = bench.plan;
    const stage = await bench.stage("whole");
    const { hub, inbox } = stage;
    const messages = pairs * messagesPerPair;
    await inbox.read();
    const before = inbox.messages.length;
    await sendReceiptsUpTo(hub.simulatorUrl, "sent");
    const line = { traffic: stage.traffic(1), generator: stage.generator, inbox, databaseUrl: hub.databaseUrl };
    await sendThrough(line, messages, "sent");
    await sendReceiptsUpTo(hub.simulatorUrl, "read");
    stage.count(messages);

    // Its own, because the stage's generator numbers messages.
    const generator = bench.resources.use(await startGenerator());
    const traffic = await receiptTraffic(stage, inbox.messages.slice(before));
    const scene = { name: "webhook.p99", hub, generatorPid: generator.pid };
    const load = async (connections: number, pace: Pace) => {
      await settle(partsOf(scene));
      return bench.observer.watch(scene, async () => {
        const result = await generator.run({ traffic, connections, pace });
        return { ...result, messages: result.accepted };
      });
    };
    const most = await load(busyConnections, { kind: "closed", durationMs: turnMs, warmUpMs: turnMs / 2 });
    const half = halfOf(most);
    const open = (requestsPerSecond: number, durationMs: number): Pace => {
      return { kind: "open", durationMs, warmUpMs: 200, requestsPerSecond };
    };
    const turns = await takeTurns(
      {
        loaded: () => load(openConnections, open(half, turnMs)),
        alone: () => load(openConnections, open(lonePerSecond, loneTurns * turnMs)),
      },
      pairs,
      ({ loaded, alone }, pair) =>
        bench.progress(
          `pair ${pair}: at ${half.toFixed(0)}/s p99 ${loaded.result.latencyMs.p99.toFixed(2)} ms ` +
            `(p50 ${loaded.result.latencyMs.p50.toFixed(2)}; ${describeCost(loaded)}), ` +
            `alone p99 ${alone.result.latencyMs.p99.toFixed(2)} ms (p50 ${alone.result.latencyMs.p50.toFixed(2)})`,
        ),
    );
    const p99 = (list: typeof turns.loaded) => several(list.map(({ result }) => result.latencyMs.p99));
    const note = `at ${half.toFixed(0)} webhooks a second, half of the maximum`;
    return [
      row({ name: "webhook.p99", unit: "ms", note }, p99(turns.loaded), atMost(50)),
      row({ name: "webhook.p99.alone", unit: "ms" }, p99(turns.alone), atMost(10)),
    ];
  },
};
