import type { PartitionProgress } from "./bus/bus.ts";
import type { Context } from "./context.ts";
import { openProgressWatch, type Place, type Watched } from "./lib/progress-watch.ts";

type Deps = Pick<Context, "bus" | "clock" | "troubles" | "backlog" | "deliverers" | "config">;

/**
 * Watches these steps in all processes, because a process without an HTTP server cannot report its steps, and a step
 * that runs nowhere has no process to report it.
 */
export function watchProgress(
  { bus, clock, troubles, backlog, deliverers, config }: Deps,
  steps: readonly { reads: string; group: string }[],
): { close(): Promise<void> } {
  const watched = steps.map(
    ({ reads, group }): Watched => ({
      name: `${group} ${reads}`,
      // A dead process holds its partitions until its leases end.
      extraMs: config.bus.leaseMs,
      check: async () => (await bus.progress(reads, group)).map(placeOf),
    }),
  );
  const lanes = [...deliverers].map(
    ([channel, deliverer]): Watched => ({
      name: `lanes ${channel}`,
      // Nothing moves while a platform takes long to respond to the only attempt.
      extraMs: config.delivery.timeoutMs,
      check: async () => deliverer.places(),
    }),
  );
  return openProgressWatch({ clock, troubles, backlog }, [...watched, ...lanes]);
}

function placeOf({ partition, consumed, waiting, isPrepared, holder }: PartitionProgress): Place {
  return {
    key: partition,
    mark: consumed,
    waiting: isPrepared ? waiting : Math.max(waiting, 1),
    isElsewhere: holder === "elsewhere",
    isDeserted: holder === "none",
  };
}
