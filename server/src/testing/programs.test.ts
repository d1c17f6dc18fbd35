/** A machine that lacks the programs that tests run: they are installed, or their tests are skipped visibly. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { repair } from "./versitygw.ts";

const programs = join(import.meta.dirname, "programs.ts");
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;

/** A folder with the programs of this machine: a shell, and an `apt-get` that installs empty programs and keeps a log. */
function openMachine() {
  const folder = mkdtempSync(join(tmpdir(), "chat4all-programs-"));
  chmodSync(folder, 0o755);
  const bin = join(folder, "bin");
  mkdirSync(bin);
  for (const [name, path] of Object.entries({ sh: "/bin/sh", env: "/usr/bin/env" })) symlinkSync(path, join(bin, name));
  const log = join(folder, "apt-get.log");
  const own = ["chromium", "initdb", "versitygw"].map((name) => join(folder, name));
  writeFileSync(
    join(bin, "apt-get"),
    `#!/bin/sh
echo "$*" >> ${log}
[ "$1" = install ] || exit 0
for program in ${["redis-server", "openssl", "curl", "nginx", "ps"].map((name) => join(bin, name)).join(" ")}; do
  [ -e $program ] || /bin/ln -s /bin/sh $program
done
`,
  );
  for (const path of own) writeFileSync(path, "#!/bin/sh\n");
  for (const path of [...own, join(bin, "apt-get")]) chmodSync(path, 0o755);
  return {
    folder,
    env: { PATH: bin, CHROMIUM_PATH: own[0]!, TEST_POSTGRES_BIN: folder, VERSITYGW_PATH: own[2]! },
    installed: () => (existsSync(log) ? readFileSync(log, "utf8") : ""),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** What the setup of a run says there, and what it throws. */
function setUp(env: Record<string, string>, { asRoot }: { asRoot: boolean }) {
  const script = `
    const { installMissingPrograms, missingPrograms } = await import(${JSON.stringify(programs)});
    if (!${asRoot} && process.getuid() === 0) process.setuid(${nobody});
    installMissingPrograms((line) => console.log(line));
    console.log(missingPrograms().length);`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    env,
    encoding: "utf8",
  });
  return { lines: stdout.trim().split("\n"), stderr, status };
}

test("as root, apt-get installs what is missing", { skip: !isRoot && "needs root" }, () => {
  using machine = openMachine();
  const { lines, status, stderr } = setUp(machine.env, { asRoot: true });
  const packages = "redis-server curl openssl nginx procps";
  assert.deepEqual(
    { lines, status },
    { lines: [`Installing programs that the tests need: ${packages}.`, "0"], status: 0 },
    stderr,
  );
  assert.match(machine.installed(), new RegExp(`^install .* ${packages}$`, "m"));
});

test("without root a line says how to install it; in CI that is an error", () => {
  using machine = openMachine();
  const packages = "redis-server curl openssl nginx procps";
  const { lines, status, stderr } = setUp(machine.env, { asRoot: false });
  assert.equal(status, 0, stderr);
  assert.equal(lines.length, 3);
  assert.match(lines[0]!, /^Skipped on this machine: tests of several processes over Redis; of .*; of TLS; of /);
  if (process.platform === "linux") assert.equal(lines[1], `To run them: sudo apt-get install ${packages}`);
  assert.equal(lines[2], "2", "the same two lines at the end of the run");
  assert.equal(machine.installed(), "");
  const inCi = setUp({ ...machine.env, CI: "1" }, { asRoot: false });
  assert.equal(inCi.status, 1);
  assert.match(inCi.stderr, /The tests need .*, which could not be installed/);
});

test("Go builds the S3 server once, and a build that fails is reported", () => {
  using machine = openMachine();
  const cache = join(machine.folder, "cache");
  const source = join(machine.folder, "fasthttp");
  for (const folder of [cache, source]) mkdirSync(folder);
  chmodSync(cache, 0o777);
  // As in Go's cache of modules.
  writeFileSync(join(source, repair.file), `func\n${repair.before}}`, { mode: 0o444 });
  const go = join(machine.env.PATH, "go");
  const script = (result: string) => `#!/bin/sh
[ "$1" = build ] || { echo '{"Dir":"${source}"}'; exit; }
while read line; do case "$line" in *io.ErrClosedPipe*) repaired=1; esac; done < fasthttp/${repair.file}
[ "$repaired" = 1 ] && ${result}
`;
  writeFileSync(go, script("exit 3"), { mode: 0o755 });
  const env = { ...machine.env, VERSITYGW_PATH: "", XDG_CACHE_HOME: cache };
  const failed = setUp(env, { asRoot: false });
  assert.match(failed.lines[0]!, /^Building versitygw /, failed.stderr);
  assert.match(
    failed.lines.join("\n"),
    /versitygw could not be built: .*tests of .*; of files in S3; .*for versitygw, install Go/s,
  );
  assert.equal(setUp({ ...env, CI: "1" }, { asRoot: false }).status, 1);
  writeFileSync(go, script("/bin/ln -s /bin/sh versitygw"));
  const built = setUp(env, { asRoot: false });
  assert.match(built.lines[0]!, /^Building versitygw /, built.stderr);
  assert.doesNotMatch(built.lines.slice(1).join("\n"), /versitygw|S3/);
  assert.doesNotMatch(setUp(env, { asRoot: false }).lines.join("\n"), /versitygw|S3/);
});

test("tests that need a missing program are shown as skipped, with the reason, and counted; the others run", () => {
  using machine = openMachine();
  const file = join(machine.folder, "sample.test.ts");
  writeFileSync(
    file,
    `import { test as plain } from "node:test";
     import { lacks, testsThatNeed } from ${JSON.stringify(programs)};
     const { before, describe, test } = testsThatNeed("redis");
     before(() => { throw new Error("it was not skipped"); });
     describe("over Redis", () => { test("inside", () => { throw new Error("it was not skipped"); }); });
     plain("by option", { skip: lacks("openssl") }, () => { throw new Error("it was not skipped"); });
     plain("another", () => {});`,
  );
  const { NODE_TEST_CONTEXT: _ofThisRun, ...env } = process.env;
  const { stdout, status } = spawnSync(process.execPath, ["--test", "--test-reporter=spec", file], {
    env: { ...env, ...machine.env },
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
  assert.match(stdout, /over Redis.*needs redis: install it \(apt-get install redis-server\)/);
  assert.match(stdout, /by option.*needs openssl/);
  assert.match(stdout, /pass 1\b[\s\S]*skipped 2\b/);
});
