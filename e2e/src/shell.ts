import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { patient } from "../../server/src/testing/patience.ts";
import { programPath } from "../../server/src/testing/programs.ts";

/** How long a shell may run by default, in milliseconds. */
const shellLimitMs = patient(60_000);

/** A request that a script made with curl. */
interface Request {
  /** What `BLOCK` was in the shell; 0 when it was not set. */
  block: number;
  /** The arguments of curl. */
  args: string;
  /** Status of the response; 0 when there was none. */
  status: number;
}

export interface Ran {
  code: number | null;
  /** What it printed on both outputs. */
  output: string;
  requests: Request[];
}

interface ShellOptions {
  env?: Record<string, string>;
  limitMs?: number;
  /** Shell scripts that replace programs, by name. */
  programs?: Record<string, string>;
}

/** Runs lines as if pasted into a shell in `folder`, and returns the response to each curl. */
export async function runShell(lines: string, folder: string, options: ShellOptions = {}): Promise<Ran> {
  const bin = join(folder, ".bin");
  const answers = join(folder, ".answers");
  for (const each of [bin, answers]) mkdirSync(each, { recursive: true });
  for (const [name, line] of Object.entries({ curl: watchedCurl(answers), ...options.programs })) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${line}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const kept = { HOME: process.env.HOME ?? "", LANG: "C.UTF-8" };
  const child = spawn("bash", ["-c", lines], {
    cwd: folder,
    env: { ...kept, ...options.env, PATH: `${bin}:${options.env?.PATH ?? process.env.PATH}` },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: options.limitMs ?? shellLimitMs,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once("error", reject).once("close", resolve),
  );
  return { code, output, requests: readAnswers(answers) };
}

/** The real curl, which also records its arguments and the status of the response. */
function watchedCurl(answers: string): string {
  return `file="${answers}/\${BLOCK:-0}-$(date +%s%N)-$$"
printf '%s' "$*" > "$file.args"
exec ${programPath("curl")} -D "$file.head" "$@"`;
}

function readAnswers(folder: string): Request[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".args"))
    .toSorted()
    .map((name) => ({
      block: Number.parseInt(name, 10),
      args: readFileSync(join(folder, name), "utf8"),
      status: statusIn(join(folder, name.replace(/args$/, "head"))),
    }));
}

/** Of the last response: before a long body curl waits for the status 100. */
function statusIn(file: string): number {
  try {
    const statuses = readFileSync(file, "utf8").matchAll(/^HTTP\/\S+ (\d+)/gm);
    return Number([...statuses].at(-1)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
