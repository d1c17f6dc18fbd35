import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");
const check = join(root, "server/check-node.cjs");
const require = createRequire(import.meta.url);

test("the oldest Node.js that the README names installs every package without a warning", () => {
  type Semver = { satisfies(version: string, range: string): boolean; minVersion(range: string): { version: string } };
  const { satisfies, minVersion } = require("semver") as Semver;
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { engines: { node: string } };
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { engines?: { node?: string } }>;
  };
  const oldest = minVersion(engines.node).version;
  const refusing = Object.entries(lock.packages).filter(
    ([, { engines: own }]) => own?.node !== undefined && !satisfies(oldest, own.node),
  );
  assert.deepEqual(
    refusing.map(([path, { engines: own }]) => `${path} needs ${own!.node}`),
    [],
  );
  const sentence = `Node.js ${engines.node.replace(">=", "")} or newer`;
  for (const page of ["README.md", "CONTRIBUTING.md"]) {
    assert.ok(readFileSync(join(root, page), "utf8").includes(sentence), `${page} does not say ${sentence}`);
  }
});

test("an older Node.js ends with one sentence, even if it cannot parse the program", () => {
  using folder = temporaryFolder();
  // Behaves like an old version up to the check, which must be written in syntax that those know.
  const old = join(folder.path, "old.cjs");
  for (const version of ["10.24.1", "18.20.8", "25.9.0"]) {
    writeFileSync(old, `Object.defineProperty(process.versions, "node", { value: "${version}" });`);
    const { status, stdout, stderr } = run(["--require", old, "--require", check, join(root, "server/src/main.ts")]);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /^Chat4All needs Node\.js 26, and this is \S+: run npm rebuild node, .*\.\n$/);
    assert.ok(stderr.includes(version));
  }
  const code = readFileSync(check, "utf8").replaceAll(/\/\/.*|\/\*.*?\*\/|"[^"]*"/g, "");
  assert.doesNotMatch(
    code,
    /\b(const|let|class|async|await|import)\b|=>|`|\?\.|\?\?|\.\.\./,
    "newer than the oldest Node.js",
  );
  assert.doesNotMatch(readFileSync(check, "utf8"), /node:/);
});

test("every script checks the version of Node.js before it runs anything else", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const unchecked = Object.entries(scripts).filter(([name, script]) => {
    // An old version refuses the options of `node --test` before it loads a file.
    const isChecked = scripts[`pre${name}`] === "node server/check-node.cjs";
    return /^node /.test(script) && !isChecked && !/^node (--require \.\/)?server\/check-node\.cjs/.test(script);
  });
  assert.deepEqual(unchecked, []);
});

test("a start before npm ci ends with one sentence", () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "server"));
  const copy = join(folder.path, "server/check-node.cjs");
  copyFileSync(check, copy);
  const { status, stderr } = run(["--require", copy, join(root, "server/src/main.ts")]);
  assert.deepEqual([status, stderr], [1, `The dependencies are not installed: run npm ci in ${folder.path}.\n`]);
});

function run(args: string[]) {
  return spawnSync(process.execPath, args, { encoding: "utf8", cwd: tmpdir(), env: { PATH: process.env.PATH } });
}

function temporaryFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), "chat4all-node-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
