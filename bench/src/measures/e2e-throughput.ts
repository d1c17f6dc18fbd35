import { setTimeout as delay } from "node:timers/promises";
import { openPool } from "../../../server/src/lib/postgres.ts";
import { checkDelivered } from "../hub/check-delivered.ts";
import { type Inbox, openInbox } from "../hub/simulator.ts";
import { openStage, type Stage } from "../hub/stage.ts";
import { atLeast, atMost, type Measure } from "../measure.ts";
import { describeCpu } from "../watch/cpu.ts";

const people = 500;
const connections = 32;
/** Until V8 has compiled what is hot and the tables are no longer empty. */
const warmUp = 5_000;
const messages = 20_000;
/** Messages that may be on their way to the platform: enough to keep every step busy, too few to pile up. */
const onTheWay = 2_000;
const pollMs = 100;
/** Longest time for all of it. */
const timeoutMs = 90_000;

/**
 * Messages sent one by one, each to one of many people on WhatsApp, as fast as they get there; over when the last of
 * their statuses, `read`, is applied. CPU time is that of the hub and its database, without platform and generator.
 */
export const e2eThroughput: Measure = {
  names: ["e2e.throughput", "e2e.cpu"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "all", people });
    const { hub, generator } = stage;
    const inbox = openInbox(hub.simulatorUrl);
    await sendThrough(stage, inbox, warmUp);
    const scene = { name: "e2e.throughput", hub, generatorPid: generator.pid };
    const { cpu, seconds, result } = await bench.observer.watch(scene, async () => ({
      messages,
      ...(await sendThrough(stage, inbox, messages)),
    }));
    bench.progress(
      `${messages} messages in ${seconds.toFixed(1)} s, ${(messages / seconds).toFixed(0)}/s ` +
        `(at the platform after ${result.receivedAfter.toFixed(1)} s; ${describeCpu(cpu, messages, seconds)})`,
    );
    await checkDelivered(stage, inbox, warmUp + messages);
    return [
      atLeast({ name: "e2e.throughput", value: messages / seconds, unit: "messages/s" }, 3_000),
      atMost({ name: "e2e.cpu", value: (cpu.hub + cpu.postgres) / messages, unit: "µs/message" }, 300),
    ];
  },
};

/** Resolves when all statuses are applied; `receivedAfter` is when the last message was received, in seconds. */
async function sendThrough(stage: Stage, inbox: Inbox, count: number): Promise<{ receivedAfter: number }> {
  const { generator, hub } = stage;
  const startedAt = performance.now();
  const before = inbox.messages.length;
  const deadline = performance.now() + timeoutMs;
  const sending = generator.run({
    traffic: stage.traffic(1),
    connections,
    pace: { kind: "credit", messages: count },
  });
  // Awaited at the end; until then a failure shows there and not as unhandled.
  sending.catch(() => {});
  for (;;) {
    await inbox.read();
    const received = inbox.messages.length - before;
    if (received >= count) break;
    generator.allow(received + onTheWay);
    await pollUntil(deadline, `${received} of ${count} messages reached the platform`);
  }
  const receivedAfter = (performance.now() - startedAt) / 1000;
  await sending;
  while (!(await inbox.isIdle())) await pollUntil(deadline, "the platform's webhooks were not all taken");
  await allRead(hub.databaseUrl, deadline);
  return { receivedAfter };
}

const quiet = { info() {}, warn() {}, error() {} };

/** Asks the database, since to ask the hub for each message would be part of what is measured. */
async function allRead(databaseUrl: string, deadline: number): Promise<void> {
  const db = openPool({ url: databaseUrl, size: 1, applicationName: "bench", log: quiet });
  try {
    for (;;) {
      const { rows } = await db.query<{ unread: number }>(
        "SELECT count(*)::int AS unread FROM deliveries WHERE status <> 'read'",
      );
      const { unread } = rows[0]!;
      if (unread === 0) return;
      await pollUntil(deadline, `${unread} deliveries were not read`);
    }
  } finally {
    await db.end();
  }
}

async function pollUntil(deadline: number, state: string): Promise<void> {
  if (performance.now() > deadline) throw new Error(`After ${timeoutMs / 1000} s ${state}.`);
  await delay(pollMs);
}
