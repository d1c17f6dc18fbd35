import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import pg from "pg";
import { closeAfterTests } from "../../server/src/testing/close-after-tests.ts";
import { patient } from "../../server/src/testing/patience.ts";
import { leastPatienceMs, until } from "../../server/src/testing/until.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";
import { isAlive } from "./processes.ts";
import { query, quiet, serverPid, startHolderProcess, temporaryFolder } from "./testing/data-directory-process.ts";

const failIfCalled = (error: Error) => assert.fail(error);
const start = (dataDir: string) => startEmbeddedPostgres({ dataDir, log: quiet, onFailed: failIfCalled });
const answers = (url: string) =>
  query(url, "select 1").then(
    () => true,
    () => false,
  );

// Most of their time these tests wait for something to be noticed, so they share it.
describe("the server", { concurrency: 4 }, () => {
  const opened = closeAfterTests();
  const made = opened.use(temporaryFolder());
  before(async () => (await start(made.dataDir)).stop());

  test("restarts after a kill, and pools reconnect", async (t) => {
    await using folder = temporaryFolder(made.dataDir);
    await using postgres = await start(folder.dataDir);
    const pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
    pool.on("error", () => {});
    await pool.query("create table note (body text); insert into note values ('kept')");
    const killed = serverPid(folder.dataDir)!;
    const started = performance.now();
    process.kill(killed, "SIGKILL");
    await until("another server runs", () => serverPid(folder.dataDir) !== killed);
    await until("the pool works again", () =>
      pool.query("select from note").then(
        (r) => r.rowCount === 1,
        () => false,
      ),
    );
    t.diagnostic(`back after ${Math.round(performance.now() - started)} ms`);
    await pool.end();
    await until("the lock is held again", async () => (await lockHolders(postgres.url)) === 1);
  });

  test("comes back when one of its processes was killed", async () => {
    await using folder = temporaryFolder(made.dataDir);
    await using postgres = await start(folder.dataDir);
    const [session] = await query<{ pid: number }>(
      postgres.url,
      "select pid from pg_locks where locktype = 'advisory'",
    );
    process.kill(session!.pid, "SIGKILL");
    await until("the lock is held again", async () => (await lockHolders(postgres.url)) === 1);
  });

  test("is started again while a process of the killed one still computes", async (t) => {
    await using folder = temporaryFolder(made.dataDir);
    await using postgres = await start(folder.dataDir);
    const busy = query(postgres.url, "select count(*) from generate_series(1, 10000000000)").catch(() => "cut off");
    await until("it computes", async () => (await countActive(postgres.url)) > 1);
    const started = performance.now();
    process.kill(serverPid(folder.dataDir)!, "SIGKILL");
    assert.equal(await busy, "cut off");
    await until("it responds again", () => answers(postgres.url));
    t.diagnostic(`back after ${Math.round(performance.now() - started)} ms`);
  });

  test("that a killed hub left running is taken over, and stopped in the end", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const hub = startHolderProcess(folder.dataDir);
    const { url } = await hub.answer;
    await hub.end("SIGKILL");
    const pid = serverPid(folder.dataDir)!;
    assert.equal(isAlive(pid), true);

    const postgres = await start(folder.dataDir);
    assert.equal(postgres.adopted, true);
    assert.equal(postgres.url, url);
    assert.equal(serverPid(folder.dataDir), pid);
    await postgres.stop();
    assert.equal(isAlive(pid), false);
  });

  test("that was taken over is started again when it is killed", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const hub = startHolderProcess(folder.dataDir);
    await hub.answer;
    await hub.end("SIGKILL");
    await using postgres = await start(folder.dataDir);
    const pid = serverPid(folder.dataDir)!;
    process.kill(pid, "SIGKILL");
    await until("it responds again", () => answers(postgres.url));
    assert.notEqual(serverPid(folder.dataDir), pid);
  });

  test("that was killed together with its hub recovers what was committed", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const hub = startHolderProcess(folder.dataDir);
    const { url } = await hub.answer;
    await query(url, "create table note (body text); insert into note values ('kept')");
    await hub.end("SIGKILL");
    process.kill(serverPid(folder.dataDir)!, "SIGKILL");

    await using postgres = await start(folder.dataDir);
    assert.equal(postgres.adopted, false);
    assert.deepEqual(await query(postgres.url, "select body from note"), [{ body: "kept" }]);
  });

  test("starts although the number of a dead one now belongs to another program", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const hub = startHolderProcess(folder.dataDir);
    await hub.answer;
    await hub.end("SIGKILL");
    const pid = serverPid(folder.dataDir)!;
    process.kill(pid, "SIGKILL");
    await until("it is dead", () => !isAlive(pid));
    // As after the restart of a container: the number is alive, and it is us.
    const other = startHolderProcess(join(folder.path, "elsewhere"));
    await other.answer;
    writeFileSync(
      join(folder.dataDir, "postgres", "postmaster.pid"),
      `${other.pid}\n${folder.dataDir}/postgres\n1\n5432\n`,
    );

    await using postgres = await start(folder.dataDir);
    assert.equal(await answers(postgres.url), true);
    await other.end("SIGTERM");
  });

  test("that does not stop in time is forced to, within 10 s", async (t) => {
    await using folder = temporaryFolder(made.dataDir);
    const postgres = await start(folder.dataDir);
    const pid = serverPid(folder.dataDir)!;
    const started = performance.now();
    process.kill(pid, "SIGSTOP");
    await postgres.stop();
    t.diagnostic(`forced after ${Math.round(performance.now() - started)} ms`);
    assert.ok(performance.now() - started < patient(leastPatienceMs));
    assert.equal(isAlive(pid), false);
  });

  test("stops when asked while it is being brought back", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const postgres = await start(folder.dataDir);
    process.kill(serverPid(folder.dataDir)!, "SIGKILL");
    await until("its end was noticed", async () => !(await answers(postgres.url)));
    await postgres.stop();
    const pid = serverPid(folder.dataDir);
    assert.ok(!pid || !isAlive(pid));
  });

  test("is left to another hub that got the data directory", async () => {
    await using folder = temporaryFolder(made.dataDir);
    const failed = Promise.withResolvers<Error>();
    const { url, stop } = await startEmbeddedPostgres({
      dataDir: folder.dataDir,
      log: quiet,
      onFailed: failed.resolve,
    });
    const other = new pg.Client({ connectionString: url.replace(/\w+$/, "postgres") });
    other.on("error", () => {});
    await other.connect();
    const [lock] = (await other.query("select pid, objid from pg_locks where locktype = 'advisory'")).rows;
    const taken = other.query("select pg_advisory_lock($1)", [lock.objid]);
    await query(url, `select pg_terminate_backend(${lock.pid})`);
    await taken;
    assert.equal((await failed.promise).name, "DataDirectoryInUse");
    await stop();
    assert.equal(isAlive(serverPid(folder.dataDir)!), true);
    await other.end();
  });

  // Once the hub ended after ten failures within a minute, so that a full disk needed an operator.
  test("that cannot be started is retried until it works, and reported meanwhile", async () => {
    await using folder = temporaryFolder(made.dataDir);
    let failures: unknown[] = [];
    await using postgres = await startEmbeddedPostgres({
      dataDir: folder.dataDir,
      log: quiet,
      onFailed: failIfCalled,
      onRestartFailed: (error) => failures.push(error),
      onRestarted() {
        failures = [];
      },
    });
    const [place, aside] = ["global", "aside"].map((name) => join(folder.dataDir, "postgres", name)) as [
      string,
      string,
    ];
    renameSync(place, aside);
    process.kill(serverPid(folder.dataDir)!, "SIGKILL");
    await until("it failed more than ten times", () => failures.length > 10);
    for (const error of failures) assert.equal((error as Error).name, "PostmasterFailed");
    renameSync(aside, place);
    await until("it is back", () => answers(postgres.url));
    await until("its success is reported", () => failures.length === 0);
  });
});

async function lockHolders(url: string): Promise<number> {
  const sql = "select count(*)::int as holders from pg_locks where locktype = 'advisory' and granted";
  const rows = await query<{ holders: number }>(url, sql).catch(() => []);
  return rows[0]?.holders ?? 0;
}

async function countActive(url: string): Promise<number> {
  const [row] = await query<{ active: number }>(
    url,
    "select count(*)::int as active from pg_stat_activity where state = 'active' and backend_type = 'client backend'",
  );
  return row!.active;
}
