import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/*
 * The S3 server of the tests: it checks signatures, expiry and lengths as AWS does. It is a Go program without packages,
 * so it is built once, into a cache that all clones share.
 */

const version = "1.8.0";
const fasthttpVersion = "1.73.0";

/**
 * That version stores a body whose connection broke as if it were whole, because its HTTP server reports such an end like
 * any other, and its checksums ignore io.ErrUnexpectedEOF. AWS stores nothing. Source: github.com/versity/versitygw, issue 2414 (fixed there after 1.8.0).
 */
export const repair = {
  file: "streaming.go",
  before: "\tn, err = rs.reader.Read(p)\n\trs.totalBytesRead += n\n\tif err != nil {\n",
  after:
    "\tn, err = rs.reader.Read(p)\n\trs.totalBytesRead += n\n" +
    "\tif err == io.EOF && n < left {\n\t\terr = io.ErrClosedPipe\n\t}\n\tif err != nil {\n",
};

const goMod = `module chat4all.test/versitygw

go 1.25.0

require github.com/versity/versitygw v${version}

replace github.com/valyala/fasthttp => ./fasthttp
`;

/** A build takes about 4 minutes of CPU. */
const buildLimitMs = 1_800_000;
const pollMs = 500;

const builtPath = () => {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "chat4all", "engines", `versitygw-${version}-repaired`, "versitygw");
};

/** `VERSITYGW_PATH` names another one. */
export const versitygwPaths = (): string[] => [process.env.VERSITYGW_PATH ?? "", builtPath()];

/** Where Go's installers put it. */
export const goPaths = ["/usr/local/go/bin/go", "/opt/homebrew/bin/go", "/usr/lib/go/bin/go"];

/** Waits while another process builds it. Throws when it cannot be built. */
export function buildVersitygw(go: string, say: (line: string) => void): void {
  const path = builtPath();
  mkdirSync(dirname(path), { recursive: true });
  using _lock = takeLock(`${path}.lock`, () => say("Waiting until another process has built versitygw."));
  if (existsSync(path)) return;
  say(`Building versitygw ${version}, the S3 server of the tests, once for this machine. It takes some minutes.`);
  const folder = `${path}.tmp`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const run = (...args: string[]) =>
    execFileSync(go, args, {
      cwd: folder,
      env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false -mod=mod", GOWORK: "off" },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: buildLimitMs,
      encoding: "utf8",
    });
  try {
    const { Dir: source } = JSON.parse(
      run("mod", "download", "-json", `github.com/valyala/fasthttp@v${fasthttpVersion}`),
    );
    copyRepaired(source, join(folder, "fasthttp"));
    writeFileSync(join(folder, "go.mod"), goMod);
    run("build", "-trimpath", "-ldflags=-s -w", "-o", "versitygw", "github.com/versity/versitygw/cmd/versitygw");
    renameSync(join(folder, "versitygw"), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Go's cache of modules is read-only. */
function copyRepaired(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
  chmodSync(to, 0o755);
  for (const entry of readdirSync(to, { recursive: true, withFileTypes: true })) {
    chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
  const path = join(to, repair.file);
  const text = readFileSync(path, "utf8");
  if (text.split(repair.before).length !== 2) throw new Error(`${repair.file} is not as expected.`);
  writeFileSync(path, text.replace(repair.before, repair.after));
}

/** A file with the id of the process that holds the lock. That of a process that has ended does not count. */
function takeLock(path: string, onWait: () => void): Disposable {
  const giveUpAt = performance.now() + buildLimitMs;
  for (let isFirst = true; ; isFirst = false) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || performance.now() > giveUpAt) throw error;
    }
    if (!isHeld(path)) rmSync(path, { force: true });
    else {
      if (isFirst) onWait();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pollMs);
    }
  }
}

function isHeld(path: string): boolean {
  try {
    // Until its id is written, the holder counts as running.
    process.kill(Number(readFileSync(path, "utf8")) || process.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
