import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { before, describe, test } from "node:test";
import { buildVersitygw, goPaths, versitygwPaths } from "./versitygw.ts";

interface Program {
  /** The tests that need it. */
  tests: string;
  /** Null: Go builds it. */
  debianPackage: string | null;
  homebrewFormula: string;
  /** Its path, or null when this machine does not have it. */
  find(): string | null;
}

/** The programs that tests run besides Node.js and the PostgreSQL that npm installs. */
const programs = {
  redis: {
    tests: "several processes over Redis",
    debianPackage: "redis-server",
    homebrewFormula: "redis",
    find: () => onPath("redis-server"),
  },
  chromium: {
    tests: "pages in a browser",
    debianPackage: "chromium",
    homebrewFormula: "--cask chromium",
    find: () => firstThatExists([process.env.CHROMIUM_PATH ?? "", ...browserPaths]),
  },
  curl: {
    tests: "what the README, the guides and a start print to be pasted",
    debianPackage: "curl",
    homebrewFormula: "curl",
    find: () => onPath("curl"),
  },
  openssl: {
    tests: "TLS",
    debianPackage: "openssl",
    homebrewFormula: "openssl",
    find: () => onPath("openssl"),
  },
  nginx: {
    tests: "a hub behind a reverse proxy",
    debianPackage: "nginx",
    homebrewFormula: "nginx",
    find: () => onPath("nginx"),
  },
  postgres: {
    tests: "the PostgreSQL of a Linux distribution, with its stock settings",
    debianPackage: "postgresql",
    homebrewFormula: "postgresql@15",
    find: findInstalledPostgres,
  },
  versitygw: {
    tests: "files in S3",
    debianPackage: null,
    homebrewFormula: "go",
    find: () => firstThatExists(versitygwPaths()),
  },
  clamd: {
    tests: "the malware scan of files",
    debianPackage: "clamav-daemon",
    homebrewFormula: "clamav",
    find: () => onPath("clamd") ?? firstThatExists(["/usr/sbin/clamd", "/opt/homebrew/sbin/clamd"]),
  },
  ps: {
    tests: "nothing, but the time limit of test files",
    debianPackage: "procps",
    homebrewFormula: "",
    find: () => onPath("ps"),
  },
} satisfies Record<string, Program>;

type ProgramName = keyof typeof programs;

const names = Object.keys(programs) as ProgramName[];

/** The path of a program, or null when this machine does not have it. */
export const programPath = (name: ProgramName): string | null => programs[name].find();

/** Why tests that need this program are skipped on this machine, or false; for the option `skip` of a test. */
export function lacks(name: ProgramName): string | false {
  const { debianPackage } = programs[name];
  const advice = debianPackage === null ? buildAdvice : `install it (apt-get install ${debianPackage})`;
  return programPath(name) === null && `needs ${name}: ${advice}`;
}

/** `test`, `describe` and `before` for tests that need a program; without it they are shown as skipped. */
export function testsThatNeed(name: ProgramName) {
  const skip = lacks(name);
  if (skip === false) return { test, describe, before };
  const skipped = (title: string) => void test(title, { skip });
  return { test: skipped, describe: skipped, before: () => {} } as unknown as Pick<
    typeof import("node:test"),
    "test" | "describe" | "before"
  >;
}

const buildAdvice = "install Go (https://go.dev/dl), which builds it";

/**
 * Installs missing programs with `apt-get` as root (or in CI with sudo), and builds what has no package with Go, where
 * that is installed. Elsewhere, and when that fails, `say` gets the command that installs them, and tests that need them
 * are skipped. Throws in CI, where skipped tests would go unnoticed.
 */
export function installMissingPrograms(say: (line: string) => void): void {
  let missing = names.filter((name) => programPath(name) === null);
  if (missing.length === 0) return;
  const go = onPath("go") ?? firstThatExists(goPaths);
  if (go !== null && missing.includes("versitygw")) {
    try {
      buildVersitygw(go, say);
    } catch (error) {
      say(`versitygw could not be built: ${(error as Error).message}`);
    }
    missing = missing.filter((name) => programPath(name) === null);
  }
  const install = aptGet();
  if (install !== null && packages(missing).length > 0) {
    say(`Installing programs that the tests need: ${packagesOf(missing)}.`);
    try {
      install(packages(missing));
    } catch (error) {
      say(`apt-get failed: ${(error as Error).message}`);
    }
    missing = missing.filter((name) => programPath(name) === null);
  }
  if (missing.length === 0) return;
  for (const line of adviceFor(missing)) say(line);
  if (process.env.CI) throw new Error(`The tests need ${missing.join(", ")}, which could not be installed.`);
}

/** The tests skipped on this machine, and the command that installs what they need; empty when none were. */
export const missingPrograms = (): string[] => adviceFor(names.filter((name) => programPath(name) === null));

function adviceFor(missing: readonly ProgramName[]): string[] {
  if (missing.length === 0) return [];
  const brew = missing.map((name) => programs[name].homebrewFormula).join(" ");
  const debian = packages(missing).length === 0 ? [] : [`sudo apt-get install ${packagesOf(missing)}`];
  if (missing.includes("versitygw")) debian.push(`for versitygw, ${buildAdvice}`);
  return [
    `Skipped on this machine: tests of ${missing.map((name) => programs[name].tests).join("; of ")}.`,
    `To run them: ${process.platform === "darwin" ? `brew install ${brew}` : debian.join("; ")}`,
  ];
}

const packages = (missing: readonly ProgramName[]): string[] =>
  missing.flatMap((name) => programs[name].debianPackage ?? []);
const packagesOf = (missing: readonly ProgramName[]) => packages(missing).join(" ");

function aptGet(): ((chosen: readonly string[]) => void) | null {
  if (onPath("apt-get") === null) return null;
  const asRoot = process.getuid?.() === 0 ? [] : process.env.CI ? ["sudo", "-n"] : null;
  if (asRoot === null) return null;
  return (chosen) => {
    // The tests start their own servers: the package must create no cluster, and RUNLEVEL=1 keeps it from starting a
    // service.
    const noCluster =
      "mkdir -p /etc/postgresql-common && cd /etc/postgresql-common && [ -e createcluster.conf ] || echo 'create_main_cluster = false' > createcluster.conf";
    const install = `apt-get update -qq && apt-get install -y -qq --no-install-recommends ${chosen.join(" ")}`;
    const script = chosen.includes("postgresql") ? `${noCluster}; ${install}` : install;
    const [program, ...args] = [...asRoot, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "sh", "-c", script];
    execFileSync(program!, args, { stdio: ["ignore", "ignore", "inherit"], timeout: installLimitMs });
  };
}

const installLimitMs = 900_000;

const browserPaths = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The oldest version on this machine: the folder of `initdb` and `pg_ctl`. */
function findInstalledPostgres(): string | null {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).toSorted((a, b) => Number(a) - Number(b)) : [];
  const folders = [process.env.TEST_POSTGRES_BIN ?? "", ...versions.map((version) => join(root, version, "bin"))];
  const initdb = firstThatExists(folders.map((folder) => folder && join(folder, "initdb"))) ?? onPath("initdb");
  return initdb === null ? null : dirname(initdb);
}

function onPath(program: string): string | null {
  return firstThatExists((process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, program)));
}

function firstThatExists(paths: readonly string[]): string | null {
  return paths.find((path) => path !== "" && isExecutable(path)) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
