/** A process that consumes and never closes: tests kill it. Reports to its parent how many partitions it owns. */

import { openPostgresBus } from "../bus/postgres-bus.ts";
import { systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";

const [url, topic, group, partitions, leaseMs] = process.argv.slice(2) as [string, string, string, string, string];
const quiet = { info() {}, warn() {}, error() {} };
const bus = await openPostgresBus({
  url,
  fanout: openLocalFanout(quiet),
  clock: systemClock,
  log: quiet,
  topics: [topic],
  partitions: Number(partitions),
  leaseMs: Number(leaseMs),
});
const subscription = bus.subscribe(topic, group, { maxBatch: 100, handle: async () => {} });
setInterval(() => process.send?.(subscription.owned().length), 20);
process.on("disconnect", () => process.exit());
