import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock } from "./clock.ts";

const checkMs = 2_000;
/** A process that uses less of one core is idle. */
const idleShare = 0.1;

/**
 * Collects garbage once, as soon as the process is idle after its start, which stops it for about 0.1 s. V8 collects
 * only when a program allocates, so an idle process would keep the garbage of its start (about 40 MiB) for hours.
 */
export function collectStartGarbage(clock: Clock): { close(): Promise<void> } {
  let cancel = () => {};
  const check = () => {
    const startedAtMs = clock.elapsed();
    const before = process.cpuUsage();
    cancel = clock.after(checkMs, () => {
      const { user, system } = process.cpuUsage(before);
      const usedMs = (user + system) / 1000;
      if (usedMs / (clock.elapsed() - startedAtMs) < idleShare) collectGarbage();
      else check();
    });
  };
  check();
  return { close: async () => cancel() };
}

/** The flag reaches only contexts that are made while it is set. "last-resort" also gives memory back to the system. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const gc: NodeJS.GCFunction = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  gc({ type: "major", execution: "sync", flavor: "last-resort" });
}
