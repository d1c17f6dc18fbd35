import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../../server/src/testing/until.ts";
import { DataDirError } from "./data-dir.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";
import { isAlive } from "./processes.ts";
import { query, quiet, serverPid, startHolderProcess, temporaryFolder } from "./testing/data-directory-process.ts";

const failIfCalled = (error: Error) => assert.fail(error);
const start = (dataDir: string) => startEmbeddedPostgres({ dataDir, log: quiet, onFailed: failIfCalled });

test("the first start makes the database, later ones find what was written", async (t) => {
  await using folder = temporaryFolder();
  const before = performance.now();
  const first = await start(folder.dataDir);
  t.diagnostic(`first start ${Math.round(performance.now() - before)} ms`);
  await query(first.url, "create table note (body text); insert into note values ('olá 👋')");
  const pid = serverPid(folder.dataDir)!;
  await first.stop();
  assert.equal(isAlive(pid), false);
  assert.equal(existsSync(join(folder.dataDir, "hub.json")), false);

  const beforeSecond = performance.now();
  await using second = await start(folder.dataDir);
  t.diagnostic(`warm start ${Math.round(performance.now() - beforeSecond)} ms`);
  assert.equal(second.adopted, false);
  assert.deepEqual(await query(second.url, "select body from note"), [{ body: "olá 👋" }]);
});

test("what is committed is on the disk, and text is UTF-8", async () => {
  await using folder = temporaryFolder();
  await using postgres = await start(folder.dataDir);
  const settings = await query<{ name: string; setting: string }>(
    postgres.url,
    "select name, setting from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'server_encoding') order by name",
  );
  assert.deepEqual(
    settings.map(({ name, setting }) => `${name}=${setting}`),
    ["fsync=on", "full_page_writes=on", "server_encoding=UTF8", "synchronous_commit=on"],
  );
});

test("refuses other users of the machine", async () => {
  await using folder = temporaryFolder();
  await using postgres = await start(folder.dataDir);
  assert.equal(statSync(join(folder.dataDir, "postgres")).mode & 0o777, 0o700);
  assert.equal(statSync(join(folder.dataDir, "postgres", "password.chat4all")).mode & 0o777, 0o600);
  assert.equal(statSync(join(folder.dataDir, "postgres.log")).mode & 0o777, 0o600);
  await assert.rejects(query(postgres.url.replace(/:[^:@]+@/, ":guess@"), "select 1"), { code: "28P01" });
  assert.ok(!readFileSync(join(folder.dataDir, "postgres.log"), "utf8").includes("guess"));
});

test("at the start a data directory and its contents become readable by their owner only", async () => {
  await using folder = temporaryFolder();
  mkdirSync(join(folder.dataDir, "files"), { recursive: true });
  for (const name of ["secrets.json", "simulator.jsonl"]) writeFileSync(join(folder.dataDir, name), "{}");
  for (const name of ["", "files"]) chmodSync(join(folder.dataDir, name), 0o755);
  await using postgres = await start(folder.dataDir);
  // As root: the user of PostgreSQL may pass through the folder, but not list it.
  const through = process.getuid?.() === 0 ? 0o711 : 0o700;
  assert.equal(statSync(folder.dataDir).mode & 0o777, through);
  for (const name of readdirSync(folder.dataDir)) {
    assert.equal(statSync(join(folder.dataDir, name)).mode & 0o077, 0, name);
  }
  assert.equal((await query(postgres.url, "select 1")).length, 1);
});

test("a second hub on the same data directory is refused with the first one's name", async () => {
  await using folder = temporaryFolder();
  await using postgres = await start(folder.dataDir);
  const second = await startHolderProcess(folder.dataDir).answer;
  assert.equal(
    second.message,
    `The data directory ${folder.dataDir} is in use by another Chat4All (process ${process.pid}): stop it first, or set another DATA_DIR.`,
  );
  assert.equal((await query(postgres.url, "select 1")).length, 1);
});

test("two hubs that make the same data directory at once end with one of them", async () => {
  await using folder = temporaryFolder();
  const hubs = [startHolderProcess(folder.dataDir), startHolderProcess(folder.dataDir)];
  const answers = await Promise.all(hubs.map((hub) => hub.answer));
  assert.deepEqual(
    answers.map((answer) => answer.name ?? "ready").sort(),
    ["DataDirectoryInUse", "ready"],
    JSON.stringify(answers),
  );
  await Promise.all(hubs.map((hub) => hub.end("SIGTERM")));
  assert.equal(serverPid(folder.dataDir), undefined);
});

test("a first start that was killed half-way is made good by the next", async () => {
  // On a loaded machine initdb may be faster than the kill.
  for (let attempt = 1; attempt <= 10; attempt++) {
    await using folder = temporaryFolder();
    const made = join(folder.dataDir, "postgres");
    const hub = startHolderProcess(folder.dataDir);
    hub.answer.catch(() => {});
    const unfinished = join(folder.dataDir, `postgres.new-${hub.pid}`);
    await until("initdb has started", () => existsSync(join(unfinished, "base")) || existsSync(made));
    await hub.end("SIGKILL");
    if (existsSync(made)) continue;

    await using postgres = await start(folder.dataDir);
    assert.equal((await query(postgres.url, "select 1")).length, 1);
    assert.equal(existsSync(unfinished), false);
    return;
  }
  assert.fail("initdb was faster than the kill each time");
});

test("what a killed first start left is removed though one of its processes still writes", async () => {
  await using folder = temporaryFolder();
  const ended = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(ended, "exit");
  const unfinished = join(folder.dataDir, `postgres.new-${ended.pid}`);
  mkdirSync(join(unfinished, "base"), { recursive: true });
  const base = JSON.stringify(join(unfinished, "base"));
  const write = `const { renameSync, writeFileSync } = require("node:fs");
    const end = performance.now() + 500;
    for (let file = 0; performance.now() < end; file++) {
      writeFileSync(${base} + "/new", "");
      renameSync(${base} + "/new", ${base} + "/" + file);
    }`;
  // It also ends when the folder is gone.
  const writer = spawn(process.execPath, ["--eval", write], { stdio: "ignore" });
  const written = once(writer, "exit");
  await until("it writes", () => existsSync(join(unfinished, "base", "9")));
  await using _postgres = await start(folder.dataDir);
  assert.equal(existsSync(unfinished), false);
  await written;
});

test("a path too long for a socket is served on a port", async () => {
  await using folder = temporaryFolder();
  const dataDir = join(folder.path, "deep".repeat(20), "data");
  await using postgres = await start(dataDir);
  assert.equal(new URL(postgres.url).hostname, "127.0.0.1");
  assert.equal((await query(postgres.url, "select 1")).length, 1);
});

test("a data directory of any name works", async () => {
  await using folder = temporaryFolder();
  await using postgres = await start(join(folder.path, 'meus dados, é "100%"'));
  assert.equal((await query(postgres.url, "select 1")).length, 1);
});

test("explains a folder that cannot be created in one sentence", { skip: process.platform !== "linux" }, async () => {
  await assert.rejects(start("/proc/chat4all"), isSentence(/cannot be created: set DATA_DIR to a folder that can/));
});

test("explains a file in the place of a folder in one sentence", async () => {
  await using folder = temporaryFolder();
  writeFileSync(join(folder.path, "file"), "");
  await assert.rejects(start(join(folder.path, "file")), isSentence(/is a file or lies below one: move it away/));
  await assert.rejects(start(join(folder.path, "file", "data")), isSentence(/is a file or lies below one/));

  mkdirSync(folder.dataDir);
  writeFileSync(join(folder.dataDir, "postgres"), "");
  await assert.rejects(
    start(folder.dataDir),
    isSentence(/postgres contains something other than a PostgreSQL database/),
  );
});

test("explains a cluster that cannot start in one sentence", async () => {
  await using folder = temporaryFolder();
  await (await start(folder.dataDir)).stop();
  writeFileSync(join(folder.dataDir, "postgres", "PG_VERSION"), "17\n");
  await assert.rejects(start(folder.dataDir), isSentence(/PostgreSQL does not start in .*incompatible with server/));
});

test("explains a running server that refuses the password in one sentence", async () => {
  await using folder = temporaryFolder();
  const holder = startHolderProcess(folder.dataDir);
  await holder.answer;
  await holder.end("SIGKILL");
  writeFileSync(join(folder.dataDir, "postgres", "password.chat4all"), "guess");
  await assert.rejects(start(folder.dataDir), isSentence(/runs in .* but refuses us \(password authentication failed/));
});

test("as root, it also runs below a folder that only root may enter", async () => {
  await using folder = temporaryFolder();
  chmodSync(folder.path, 0o700);
  await using postgres = await start(folder.dataDir);
  assert.equal((await query(postgres.url, "select 1")).length, 1);
  assert.notEqual(statSync(join(folder.dataDir, "postgres")).uid, 0);
});

function isSentence(pattern: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof DataDirError, String(error));
    assert.match(error.message, pattern);
    assert.ok(!error.message.includes("\n"));
    return true;
  };
}
