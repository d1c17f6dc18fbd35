import { type Child, startChild } from "../child.ts";
import { CheckFailed } from "../measure.ts";
import type { CrowdFaults, CrowdOptions } from "./crowd.ts";
import type { CrowdOrder } from "./crowd-process.ts";

export interface CrowdChild extends AsyncDisposable {
  readonly pid: number;
  open(options: CrowdOptions): Promise<number>;
  /** When the first and the last client had the event at this cursor, by `sharedNow`. */
  reach(cursor: number): Promise<{ firstAt: number; lastAt: number }>;
  /** When it began. */
  cut(): Promise<number>;
  /** When the last had resumed. */
  reconnect(): Promise<number>;
  check(): Promise<void>;
  close(): Promise<void>;
}

export async function startCrowd(): Promise<CrowdChild> {
  const child: Child = await startChild("./sockets/crowd-process.ts");
  const ask = <Result>(order: CrowdOrder) => child.ask<Result>(order);
  return {
    pid: child.pid,
    open: (options) => ask({ kind: "open", options }),
    reach: (cursor) => ask({ kind: "reach", cursor }),
    cut: () => ask({ kind: "cut" }),
    reconnect: () => ask({ kind: "reconnect" }),
    async check() {
      const faults = await ask<CrowdFaults>({ kind: "faults" });
      const { holes, doubles, gaps, ended, why } = faults;
      if (holes + doubles + gaps + ended === 0) return;
      throw new CheckFailed(
        `${holes} holes, ${doubles} doubles, ${gaps} gaps, ${ended} sockets ended${why ? `: ${why}` : ""}.`,
      );
    },
    close: () => ask({ kind: "close" }),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** Files that a process of this bench opens beside its sockets. */
const otherFiles = 300;

/** As many sockets as are wanted, or as a process may have. */
export function socketsHere(wanted: number): number {
  const report = process.report.getReport() as unknown as { userLimits?: { open_files?: { soft: number | string } } };
  const limit = Number(report.userLimits?.open_files?.soft ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(limit) ? Math.min(wanted, limit - otherFiles) : wanted;
}
