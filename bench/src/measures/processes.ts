import { setTimeout as delay } from "node:timers/promises";
import { checkDelivered } from "../hub/check-delivered.ts";
import { type Hubs, startHubs } from "../hub/hubs-on-one-database.ts";
import { type Line, sendThrough } from "../hub/send-through.ts";
import { setUp } from "../hub/setup.ts";
import { openInbox } from "../hub/simulator.ts";
import { startGenerator } from "../load/generator.ts";
import { type Bench, type Measure, type Row, row, several } from "../measure.ts";
import { describeCost, storageUs } from "../watch/cpu.ts";
import { withDb } from "../watch/statements.ts";

const counts = [1, 2, 4];
const people = 500;
/** Of each process: with more processes there is more to do, or none would be added. */
const connectionsEach = 32;
/** Until V8 has compiled what is hot; each process takes its share. */
const warmUp = 2_000;
const fewest = 500;
const most = 10_000;
/** A turn lasts so many times the turn of another measure: filling and emptying the line is part of it. */
const turnTimes = 3;
const samplePauseMs = 10;

/**
 * One workspace whose requests go to one, two and four processes with all roles, on one database: messages from their
 * request to the last of their statuses, what one costs, and how many statements wait for a lock at any time. Processes
 * that serialised each other's commits would show there.
 */
export const processes: Measure = {
  names: counts.flatMap((count) => [`processes.${count}`, `processes.${count}.cpu`, `processes.${count}.locks`]),
  onlyWhenNamed: true,
  async run(bench) {
    const rows: Row[] = [];
    for (const count of counts) rows.push(...(await measure(bench, count)));
    return rows;
  },
};

async function measure(bench: Bench, count: number): Promise<Row[]> {
  await using hubs = await startHubs(count);
  const hub = { url: hubs.urls[0]!, adminPassword: hubs.adminPassword };
  const workplace = await setUp(hub, people);
  const { authorization, conversations } = workplace;
  await using generator = await startGenerator();
  const conversationIds = conversations.map(({ conversationId }) => conversationId);
  const inbox = openInbox(hubs.simulatorUrl);
  const traffic = { url: hub.url, urls: hubs.urls, authorization, conversationIds, batchSize: 1 };
  const line: Line = { traffic, generator, inbox, databaseUrl: hubs.databaseUrl, connections: connectionsEach * count };
  const parts = {
    hub: hubs.pids,
    postmaster: hubs.postmasterPid,
    simulator: hubs.simulatorPid,
    generator: generator.pid,
  };
  const startedAt = performance.now();
  await sendThrough(line, warmUp);
  const perMs = warmUp / (performance.now() - startedAt);
  const messages = Math.round(Math.min(most, Math.max(fewest, perMs * bench.plan.turnMs * turnTimes)));
  const turns = [];
  for (let turn = 1; turn <= bench.plan.pairs; turn += 1) {
    const measured = await bench.observer.meter(parts, async () => {
      const locks = await countLockWaits(hubs, () => sendThrough(line, messages));
      return { messages, locks };
    });
    turns.push(measured);
    bench.progress(
      `${count} processes: ${(messages / measured.seconds).toFixed(0)}/s (${describeCost(measured)}), ` +
        `${measured.result.locks.toFixed(2)} wait for a lock`,
    );
  }
  const accepted = warmUp + messages * turns.length;
  await checkDelivered({ ...workplace, hub, inbox, accepted });
  const name = `processes.${count}`;
  return [
    row({ name, unit: "messages/s" }, several(turns.map(({ seconds }) => messages / seconds))),
    row({ name: `${name}.cpu`, unit: "µs/message" }, several(turns.map(storageUs))),
    row({ name: `${name}.locks`, unit: "statements" }, several(turns.map(({ result }) => result.locks))),
  ];
}

/** How many statements of hubs waited for a lock while `work` ran, on average. */
async function countLockWaits({ databaseUrl }: Hubs, work: () => Promise<void>): Promise<number> {
  return withDb(databaseUrl, async (db) => {
    let isOver = false;
    let samples = 0;
    let waiting = 0;
    const working = work().finally(() => {
      isOver = true;
    });
    while (!isOver) {
      const { rows } = await db.query<{ count: number }>(
        "SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name LIKE 'chat4all%' AND wait_event_type = 'Lock'",
      );
      waiting += rows[0]!.count;
      samples += 1;
      await Promise.race([delay(samplePauseMs), working.catch(() => {})]);
    }
    await working;
    return waiting / samples;
  });
}
