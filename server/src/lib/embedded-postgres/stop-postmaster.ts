import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Postmaster, ServerPlace } from "./postmaster.ts";
import { signal } from "./process.ts";

/** Each step is harsher; the server recovers from all of them. */
const steps = [
  // Ends every session and writes a checkpoint: the next start needs no recovery.
  { name: "SIGINT", windowsMode: "fast", limitMs: 6000 },
  { name: "SIGQUIT", windowsMode: "immediate", limitMs: 1500 },
  { name: "SIGKILL", windowsMode: "immediate", limitMs: 1500 },
] as const;

/** Stops the server and all its processes within 9 s, gently if possible. */
export async function stopPostmaster(
  postmaster: Postmaster,
  place: ServerPlace,
): Promise<"clean" | "forced" | "still running"> {
  for (const { name, windowsMode, limitMs } of steps) {
    const children = name === "SIGKILL" ? childrenOf(postmaster.pid) : [];
    if (process.platform === "win32") {
      execFile(place.binaries.pg_ctl, ["stop", "-D", place.directory, "-m", windowsMode, "-W"], () => {});
    } else {
      for (const pid of [postmaster.pid, ...children]) signal(pid, name);
    }
    const timer = new AbortController();
    const late = delay(limitMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
    const outcome = await Promise.race([postmaster.exited, late]);
    timer.abort();
    if (outcome !== "late") return name === "SIGINT" ? "clean" : "forced";
  }
  return "still running";
}

/** Each server process leads its own group, so a kill of the first group would miss the others. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
