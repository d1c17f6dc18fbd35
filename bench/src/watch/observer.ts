import type { BenchHub } from "../hub/bench-hub.ts";
import { add, type Cost, type CpuSplit, type Parts, readCpu, shareOfOthers, subtract } from "./cpu.ts";
import { type FunctionTimes, functionTimes } from "./functions.ts";
import { openInspector } from "./inspector.ts";
import { readStatements, resetStatements, type StatementTime } from "./statements.ts";

export interface Observer {
  /** Whether hubs are to be started with their inspector open and their statements counted. */
  readonly isProfiling: boolean;
  /** Runs `work`, which returns how many messages it moved, and measures its cost. */
  watch<Result extends Work>(scene: Scene, work: () => Promise<Result>): Promise<Watched<Result>>;
  /** As `watch`, for a reference: it is never profiled. */
  meter<Result extends Work>(parts: Parts, work: () => Promise<Result>): Promise<Watched<Result>>;
}

interface Work {
  messages: number;
}

export interface Scene {
  /** Profiles of the same name are added up. */
  name: string;
  hub: BenchHub;
  generatorPid: number | null;
}

export interface Watched<Result> extends Cost {
  result: Result;
}

export interface Profile {
  name: string;
  messages: number;
  seconds: number;
  cpu: CpuSplit;
  functions: FunctionTimes;
  statements: StatementTime[];
}

/** `othersShare` of the machine is what other programs used of it, at the worst. */
interface Surroundings {
  othersShare: number;
}

export function plainObserver(surroundings: Surroundings): Observer {
  const meter: Observer["meter"] = (parts, work) => observe(surroundings, parts, work);
  return { isProfiling: false, watch: (scene, work) => meter(partsOf(scene), work), meter };
}

const listedStatements = 16;

/** Also samples what the hub's process does, and lets the database count what statements cost. */
export function profilingObserver(surroundings: Surroundings): Observer & { profiles(): Profile[] } {
  const profiles = new Map<string, Profile>();
  return {
    isProfiling: true,
    meter: (parts, work) => observe(surroundings, parts, work),
    async watch(scene, work) {
      const { name, hub } = scene;
      const known = profiles.get(name);
      if (known === undefined) await resetStatements(hub.databaseUrl);
      const inspector = await openInspector(hub.inspectorUrl!);
      try {
        await inspector.startProfile();
        const watched = await observe(surroundings, partsOf(scene), work);
        const functions = known?.functions ?? functionTimes();
        functions.add(await inspector.stopProfile());
        profiles.set(name, {
          name,
          messages: (known?.messages ?? 0) + watched.result.messages,
          seconds: (known?.seconds ?? 0) + watched.seconds,
          cpu: known === undefined ? watched.cpu : add(known.cpu, watched.cpu),
          functions,
          statements: await readStatements(hub.databaseUrl, listedStatements),
        });
        return watched;
      } finally {
        inspector.close();
      }
    },
    profiles: () => [...profiles.values()],
  };
}

export function partsOf({ hub, generatorPid }: Pick<Scene, "hub" | "generatorPid">): Parts {
  return { hub: hub.pid, postmaster: hub.postmasterPid, simulator: hub.simulatorPid, generator: generatorPid };
}

async function observe<Result extends Work>(
  surroundings: Surroundings,
  parts: Parts,
  work: () => Promise<Result>,
): Promise<Watched<Result>> {
  const before = readCpu(parts);
  const startedAt = performance.now();
  const result = await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const cpu = subtract(readCpu(parts), before);
  surroundings.othersShare = Math.max(surroundings.othersShare, shareOfOthers(cpu, seconds));
  return { result, messages: result.messages, seconds, cpu };
}
