import { chownSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseServerUser, spawnAs } from "../../../embedded-postgres/src/server-user.ts";
import { lacks, programPath } from "./programs.ts";
import { startWatchdog } from "./watchdog.ts";

const startWithinSeconds = 60;

/**
 * A PostgreSQL of the operating system, with its stock settings. It does not outlive this process, however that ends.
 */
export interface StockPostgres extends AsyncDisposable {
  /** Leads to the database `postgres` as a superuser. */
  readonly url: string;
  /** The only place where it listens. */
  readonly socketPath: string;
  /** Runs one of its programs as the user who runs the server. */
  run(program: string, ...args: string[]): Promise<void>;
  readonly folder: string;
  /** Like a machine that hangs: connections stay, new ones are accepted, and nothing responds. */
  freeze(): void;
  /** A standby becomes a primary. */
  promote(): Promise<void>;
}

interface StockPostgresOptions {
  /** Settings besides its address, which is a socket in its own folder. */
  settings?: Record<string, string>;
  /** A streaming standby of this server, instead of a new cluster. */
  standbyOf?: StockPostgres;
}

export async function startStockPostgres({
  settings = {},
  standbyOf,
}: StockPostgresOptions = {}): Promise<StockPostgres> {
  const bin = programPath("postgres");
  if (bin === null) throw new Error(`This test ${lacks("postgres")}.`);
  const folder = mkdtempSync(join(realpathSync(tmpdir()), `chat4all-stock-${process.pid}-`));
  const user = await chooseServerUser(folder, { program: join(bin, "postgres"), folder: tmpdir() });
  if (user.kind === "other") chownSync(folder, user.uid, user.gid);
  const watchdog = startWatchdog(folder, watchdogScript);
  const data = join(folder, "data");
  const pid = () => Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n", 1)[0]);

  /** To the server and all of its processes. */
  function signal(name: "SIGSTOP" | "SIGCONT"): void {
    for (const each of [pid(), ...childrenOf(pid())]) {
      try {
        process.kill(each, name);
      } catch {
        // The server has ended meanwhile.
      }
    }
  }

  async function run(program: string, ...args: string[]): Promise<void> {
    const child = spawnAs(user, join(bin!, program), args, { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr!.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
    const code = await new Promise<number | null>((resolve, reject) =>
      child.once("error", reject).once("exit", resolve),
    );
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${said}`);
  }

  if (standbyOf === undefined)
    await run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8");
  else await run("pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", plainAddress(standbyOf.folder));
  const given = Object.entries({ ...settings, listen_addresses: "", unix_socket_directories: folder });
  const options = given.map(([name, value]) => `-c ${name}=${value}`).join(" ");
  await run(
    "pg_ctl",
    "-D",
    data,
    "-w",
    "-t",
    `${startWithinSeconds}`,
    "-l",
    join(folder, "log"),
    "-o",
    options,
    "start",
  );
  return {
    url: `postgres://postgres@${encodeURIComponent(folder)}:5432/postgres`,
    socketPath: join(folder, ".s.PGSQL.5432"),
    folder,
    run,
    freeze: () => signal("SIGSTOP"),
    promote: () => run("pg_ctl", "-D", data, "-w", "promote"),
    async [Symbol.asyncDispose]() {
      // A frozen server must be able to end.
      signal("SIGCONT");
      await run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop");
      rmSync(folder, { recursive: true, force: true });
      watchdog.end();
    },
  };
}

function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        return Number(readFileSync(`/proc/${child}/stat`, "utf8").split(") ")[1]?.split(" ")[1]) === pid;
      } catch {
        // The server has ended meanwhile.
        return false;
      }
    });
}

/** In the syntax of libpq. */
function plainAddress(folder: string): string {
  return `host=${folder} user=postgres application_name=standby`;
}

const watchdogScript = `
  cat
  pid=$(head -n 1 "$1/data/postmaster.pid")
  tries=0
  while [ -n "$pid" ] && kill -CONT "$pid" && kill -QUIT "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  rm -rf "$1"
`;
