import assert from "node:assert/strict";
import { test } from "node:test";
import { openPostgresBus } from "./bus/postgres-bus.ts";
import type { Context } from "./context.ts";
import { steps } from "./flow.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import { openLocalFanout } from "./lib/fanout/local-fanout.ts";
import type { Log } from "./lib/postgres.ts";
import { checkEveryMs } from "./lib/progress-watch.ts";
import { openTroubles } from "./lib/troubles.ts";
import { createTestDatabase } from "./testing/test-database.ts";
import { until } from "./testing/until.ts";
import { watchProgress } from "./watch-progress.ts";

const log: Log = { info() {}, warn() {}, error() {} };
/** Looks at progress a hundred times as often. */
const clock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs === checkEveryMs ? checkEveryMs / 100 : delayMs, callback),
};

// A process that holds partitions and never gets ready for them keeps all others from them.
test("a step that does not get ready for its partitions is reported, even if no work waits", async () => {
  await using opened = new AsyncDisposableStack();
  const { url } = opened.use(await createTestDatabase());
  const leaseMs = 2_000;
  const topics = steps.map(({ reads }) => reads);
  const fanout = opened.use(openLocalFanout(log));
  const bus = opened.use(
    await openPostgresBus({ url, fanout, clock: systemClock, log, topics, partitions: 2, leaseMs }),
  );
  const ready = Promise.withResolvers<void>();
  opened.defer(() => ready.resolve());
  const [step] = steps;
  const subscription = bus.subscribe(step!.reads, step!.group, {
    maxBatch: 1,
    onAssigned: () => ready.promise,
    handle: async () => {},
  });
  await until("it holds its partitions", () => subscription.owned().length === 2);

  const troubles = openTroubles({ clock, log });
  const config = { bus: { leaseMs } } as Context["config"];
  const watch = watchProgress({ bus, clock, troubles, backlog: new Map(), deliverers: new Map(), config }, steps);
  opened.defer(() => watch.close());
  const part = `progress of ${step!.group} ${step!.reads}`;
  await until("it is reported", () => troubles.list().length > 0);
  assert.deepEqual(
    troubles.list().map(({ part, code }) => ({ part, code })),
    [{ part, code: "NO_PROGRESS" }],
  );
  ready.resolve();
  await until("it is over", () => troubles.list().length === 0);
});
