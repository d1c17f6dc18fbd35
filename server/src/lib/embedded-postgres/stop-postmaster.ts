import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Postmaster, ServerPlace } from "./postmaster.ts";
import { signal } from "./process.ts";

/** Each step is harder than the one before; the server recovers from all of them. */
const steps = [
  // Ends every session, writes everything down: the next start needs no recovery.
  { name: "SIGINT", windowsMode: "fast", limitMs: 6000 },
  { name: "SIGQUIT", windowsMode: "immediate", limitMs: 1500 },
  { name: "SIGKILL", windowsMode: "immediate", limitMs: 1500 },
] as const;

/** Stops the server within 9 s, gently if it lets us, and leaves none of its processes. Answers how it went. */
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

/** Each server process is the leader of its own group, so killing the first one's group would not reach them. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
