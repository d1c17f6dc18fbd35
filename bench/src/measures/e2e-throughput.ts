import { checkDelivered } from "../hub/check-delivered.ts";
import { type Line, sendThrough } from "../hub/send-through.ts";
import { openInbox } from "../hub/simulator.ts";
import { startGenerator } from "../load/generator.ts";
import { atLeast, atMost, atMostTimes, compare, type Measure, row, several } from "../measure.ts";
import { checkFloor } from "../reference/check-floor.ts";
import { startFloor } from "../reference/start-floor.ts";
import { takeTurns } from "../turns.ts";
import { type Cost, describeCost, storageUs } from "../watch/cpu.ts";
import { readWal } from "../watch/wal.ts";

/** Until V8 has compiled what is hot and the tables are no longer empty; it also shows how fast the machine is. */
const warmUp = 500;
/** A turn of the hub lasts so many times the turn of another measure: filling and emptying the line is part of it. */
const turnTimes = 4;
const fewest = 300;
const most = 20_000;

/**
 * Messages from their request to the last of their statuses, `read`, beside the floor: the leanest program that keeps the
 * promises of storage, with its own database and simulator. CPU time and WAL are those of hub and database, without
 * platform and generator.
 */
export const e2eThroughput: Measure = {
  names: ["e2e.throughput", "e2e.cpu", "e2e.wal"],
  async run(bench) {
    const { pairs, turnMs } = bench.plan;
    const stage = await bench.stage("whole");
    const { hub, generator, inbox } = stage;
    const floor = bench.resources.use(await startFloor(stage.conversations.length));
    const lines = {
      hub: { traffic: stage.traffic(1), generator, inbox, databaseUrl: hub.databaseUrl },
      floor: {
        traffic: { ...stage.traffic(1), url: floor.url, conversationIds: floor.conversationIds },
        // Its own, because each generator numbers its messages, and the check wants those of the hub without a gap.
        generator: bench.resources.use(await startGenerator()),
        inbox: openInbox(floor.simulatorUrl),
        databaseUrl: floor.databaseUrl,
      },
    } satisfies Record<string, Line>;
    const floorParts = {
      hub: floor.pid,
      postmaster: floor.postmasterPid,
      simulator: floor.simulatorPid,
      generator: lines.floor.generator.pid,
    };

    const startedAt = performance.now();
    await sendThrough(lines.hub, warmUp);
    stage.count(warmUp);
    const perMs = warmUp / (performance.now() - startedAt);
    const messages = Math.round(Math.min(most, Math.max(fewest, perMs * turnMs * turnTimes)));
    const send = async (line: Line) => {
      const before = await readWal(line.databaseUrl);
      await sendThrough(line, messages);
      const after = await readWal(line.databaseUrl);
      const wal = { bytes: after.bytes - before.bytes, checkpoints: after.checkpoints - before.checkpoints };
      return { messages, wal };
    };
    const turns = await takeTurns(
      {
        hub: async () => {
          const scene = { name: "e2e.throughput", hub, generatorPid: generator.pid };
          const watched = await bench.observer.watch(scene, () => send(lines.hub));
          stage.count(messages);
          return watched;
        },
        floor: () => bench.observer.meter(floorParts, () => send(lines.floor)),
      },
      pairs,
      ({ hub, floor }, pair) =>
        bench.progress(
          `pair ${pair}: ${messages} messages; hub ${(messages / hub.seconds).toFixed(0)}/s (${describeCost(hub)}; ` +
            `${describeWal(hub)}), floor ${(messages / floor.seconds).toFixed(0)}/s (${describeCost(floor)}; ` +
            `${describeWal(floor)})`,
        ),
    );
    await checkDelivered(stage);
    await checkFloor(floor, lines.floor.inbox);
    const checkpoints = turns.hub.reduce((sum, { result }) => sum + result.wal.checkpoints, 0);
    const note = `${checkpoints} checkpoints in the hub's turns; after one, a changed page is written whole`;
    return [
      row(
        { name: "e2e.throughput", unit: "messages/s" },
        several(turns.hub.map(({ seconds }) => messages / seconds)),
        atLeast(3_000),
      ),
      row(
        { name: "e2e.cpu", unit: "µs/message" },
        compare(turns.hub.map(storageUs), turns.floor.map(storageUs)),
        ...[atMostTimes(1.4), atMost(330)],
      ),
      row(
        { name: "e2e.wal", unit: "B/message", note },
        compare(turns.hub.map(walBytes), turns.floor.map(walBytes)),
        atMost(4_000),
      ),
    ];
  },
};

type WalCost = Cost & { result: { wal: { bytes: number; checkpoints: number } } };

function walBytes({ result, messages }: WalCost): number {
  return result.wal.bytes / messages;
}

function describeWal(cost: WalCost): string {
  const { checkpoints } = cost.result.wal;
  return `${walBytes(cost).toFixed(0)} B of WAL${checkpoints > 0 ? `, ${checkpoints} checkpoints` : ""}`;
}
