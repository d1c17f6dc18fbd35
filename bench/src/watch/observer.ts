import type { BenchHub } from "../hub/bench-hub.ts";
import { add, type CpuSplit, readCpu, shareOfOthers, subtract } from "./cpu.ts";
import { type FunctionTimes, functionTimes } from "./functions.ts";
import { openInspector } from "./inspector.ts";
import { readStatements, resetStatements, type StatementTime } from "./statements.ts";

export interface Observer {
  /** Whether hubs are to be started with their inspector open and their statements counted. */
  readonly isProfiling: boolean;
  /** Runs `work`, which returns how many messages it moved, and measures its cost. */
  watch<Result extends { messages: number }>(scene: Scene, work: () => Promise<Result>): Promise<Watched<Result>>;
}

interface Scene {
  /** Profiles of the same name are added up. */
  name: string;
  hub: BenchHub;
  generatorPid: number | null;
}

interface Watched<Result> {
  result: Result;
  seconds: number;
  cpu: CpuSplit;
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
  return { isProfiling: false, watch: (scene, work) => observe(surroundings, scene, work) };
}

const listedStatements = 16;

/** Also samples what the hub's process does, and lets the database count what statements cost. */
export function profilingObserver(surroundings: Surroundings): Observer & { profiles(): Profile[] } {
  const profiles = new Map<string, Profile>();
  return {
    isProfiling: true,
    async watch(scene, work) {
      const { name, hub } = scene;
      const known = profiles.get(name);
      if (known === undefined) await resetStatements(hub.databaseUrl);
      const inspector = await openInspector(hub.inspectorUrl!);
      try {
        await inspector.startProfile();
        const watched = await observe(surroundings, scene, work);
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

async function observe<Result>(
  surroundings: Surroundings,
  { hub, generatorPid }: Scene,
  work: () => Promise<Result>,
): Promise<Watched<Result>> {
  const before = readCpu(hub, generatorPid);
  const startedAt = performance.now();
  const result = await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const cpu = subtract(readCpu(hub, generatorPid), before);
  surroundings.othersShare = Math.max(surroundings.othersShare, shareOfOthers(cpu, seconds));
  return { result, seconds, cpu };
}
