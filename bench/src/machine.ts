import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { cpuSource } from "./watch/processes.ts";

export interface Machine {
  cpu: string;
  cores: number;
  memory_gib: number;
  os: string;
  node: string;
  /** The short id of the checked-out commit, with a + when files differ from it; null without git. */
  commit: string | null;
  /** Where CPU times come from, with their resolution. */
  cpu_time: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? process.arch,
    cores: availableParallelism(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.versions.node,
    commit: readCommit(),
    cpu_time: cpuSource(),
  };
}

function readCommit(): string | null {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const hasChanges = git("status", "--porcelain", "--untracked-files=no").trim() !== "";
    return git("rev-parse", "--short", "HEAD").trim() + (hasChanges ? "+" : "");
  } catch {
    return null;
  }
}
