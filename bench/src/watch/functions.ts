import { type CpuProfile, samplingIntervalUs } from "./inspector.ts";

/**
 * A thread that waits for a processor is not sampled until it runs again, and then just where another process took its
 * place, mostly in the write that woke that process. Samples that are this late, in microseconds, are not counted.
 */
const lateSampleUs = 2 * samplingIntervalUs;

/** Where a process spent its time, added up over several profiles. Times in microseconds. */
export interface FunctionTimes {
  add(profile: CpuProfile): void;
  /** Samples in which something ran. */
  readonly busyUs: number;
  /** By the function that ran; the most expensive first. */
  self(): Entry[];
  /** By our own functions on the stack, with all that they called. */
  within(): Entry[];
  /** By the package or folder of the function that ran. */
  areas(): Entry[];
}

export interface Entry {
  name: string;
  us: number;
}

export function functionTimes(): FunctionTimes {
  const self = new Map<string, number>();
  const within = new Map<string, number>();
  const areas = new Map<string, number>();
  let busyUs = 0;
  const count = (map: Map<string, number>, name: string, us: number) => map.set(name, (map.get(name) ?? 0) + us);

  return {
    add({ nodes, samples, timeDeltas }) {
      const byId = new Map(nodes.map((node) => [node.id, node]));
      const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
      const spent = new Map<number, number>();
      for (const [index, id] of samples.entries()) {
        const us = timeDeltas[index]!;
        if (us < lateSampleUs) spent.set(id, (spent.get(id) ?? 0) + us);
      }
      for (const [id, us] of spent) {
        const { callFrame } = byId.get(id)!;
        if (callFrame.functionName === "(idle)") continue;
        busyUs += us;
        count(self, nameOf(callFrame), us);
        count(areas, areaOf(callFrame.url, callFrame.functionName), us);
        const own = new Set<string>();
        for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
          const frame = byId.get(at)!.callFrame;
          if (isOwn(frame.url)) own.add(nameOf(frame));
        }
        for (const name of own) count(within, name, us);
      }
    },
    get busyUs() {
      return busyUs;
    },
    self: () => sorted(self),
    within: () => sorted(within),
    areas: () => sorted(areas),
  };
}

function sorted(map: Map<string, number>): Entry[] {
  return [...map].map(([name, us]) => ({ name, us })).sort((a, b) => b.us - a.us);
}

function nameOf({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = functionName || "(anonymous)";
  return url === "" ? name : `${name}  ${shorten(url)}:${lineNumber + 1}`;
}

function shorten(url: string): string {
  const inPackage = url.lastIndexOf("/node_modules/");
  if (inPackage >= 0) return url.slice(inPackage + "/node_modules/".length);
  const ours = /\/((?:embedded-postgres|server|simulator)\/src\/.*)$/.exec(url);
  return ours ? ours[1]! : url;
}

function isOwn(url: string): boolean {
  return !url.includes("/node_modules/") && /\/(embedded-postgres|server|simulator)\/src\//.test(url);
}

function areaOf(url: string, functionName: string): string {
  if (url === "") return functionName.startsWith("(") ? functionName : "(native)";
  const path = shorten(url);
  if (path.startsWith("node:")) return path.split("/").slice(0, 2).join("/");
  const parts = path.split("/");
  if (isOwn(url)) return parts.slice(0, 3).join("/");
  return parts[0]!.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0]!;
}
