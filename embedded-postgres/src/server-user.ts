import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { promisify } from "node:util";
import { DataDirError } from "./data-dir.ts";
import { readOrEmpty } from "./processes.ts";

/** PostgreSQL refuses root. `wrapper` is the command in front, empty when that user can read all files. */
export type ServerUser = { kind: "self" } | { kind: "other"; uid: number; gid: number; wrapper: readonly string[] };

/** As root: the owner of the data directory if not root, else `postgres`, else `nobody`. Throws a `DataDirError`. */
export async function chooseServerUser(
  directory: string,
  mustReach: { program: string; folder: string },
): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return { kind: "self" };
  const ids = ownerOf(directory) ?? (await lookUp("postgres")) ?? (await lookUp("nobody"));
  if (!ids) {
    throw new DataDirError(
      "PostgreSQL does not run as root and there is no user postgres or nobody: start as another user, or set DATABASE_URL.",
    );
  }
  for (const wrapper of [[], ...capabilityWrappers(ids)]) {
    const user: ServerUser = { kind: "other", ...ids, wrapper };
    if (await reaches(user, mustReach)) return user;
  }
  throw new DataDirError(
    `PostgreSQL does not run as root, and user ${ids.uid} cannot reach ${mustReach.program} or ${mustReach.folder}: ` +
      "move both out of private folders, start as another user, or set DATABASE_URL.",
  );
}

/** Without our environment, which has secrets. */
export function spawnAs(
  user: ServerUser,
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const all: SpawnOptions = {
    cwd: process.platform === "win32" ? undefined : "/",
    env: plainEnv(),
    windowsHide: true,
    ...options,
  };
  if (user.kind === "self") return spawn(program, args, all);
  const [first, ...rest] = [...user.wrapper, program, ...args];
  // A wrapper changes the user itself: it needs root to keep some of its rights.
  return spawn(first!, rest, user.wrapper.length > 0 ? all : { ...all, uid: user.uid, gid: user.gid });
}

function plainEnv(): NodeJS.ProcessEnv {
  if (process.platform === "win32") return process.env;
  // A fixed time zone and language: initdb does not guess, and its messages are known.
  return { PATH: process.env.PATH, TZ: "UTC", LC_ALL: "C" };
}

type Ids = { uid: number; gid: number };

function ownerOf(directory: string): Ids | undefined {
  const { uid, gid } = statSync(directory, { throwIfNoEntry: false }) ?? { uid: 0, gid: 0 };
  return uid === 0 ? undefined : { uid, gid };
}

async function lookUp(name: string): Promise<Ids | undefined> {
  try {
    const [uid, gid] = await Promise.all(["-u", "-g"].map(async (flag) => (await run("id", [flag, name])).stdout));
    return { uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined;
  }
}

const run = promisify(execFile);

/** `no_setuid_fixup` makes `access(2)` respect the right, as PostgreSQL needs. Sources: capabilities(7), setpriv(1). */
function capabilityWrappers({ uid, gid }: Ids): string[][] {
  const held = BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(readOrEmpty("/proc/self/status"))?.[1] ?? "0"}`);
  const useful = [["dac_read_search", 2n] as const, ["dac_override", 1n] as const].filter(
    ([, bit]) => held & (1n << bit),
  );
  return useful.map(([right]) => [
    ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--securebits=+no_setuid_fixup"],
    ...[`--inh-caps=-all,+${right}`, `--ambient-caps=+${right}`, `--bounding-set=-all,+${right}`, "--"],
  ]);
}

async function reaches(user: ServerUser, { program, folder }: { program: string; folder: string }): Promise<boolean> {
  const probe = ["-c", 'cd "$1" && exec "$2" --version', "sh", folder, program];
  const [code] = await once(spawnAs(user, "/bin/sh", probe, { stdio: "ignore" }), "exit").catch(() => [null]);
  return code === 0;
}
