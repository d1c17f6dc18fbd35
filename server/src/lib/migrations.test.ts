import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase } from "../testing/test-database.ts";
import { migrate } from "./migrations.ts";
import { type Log, openPool, type Pool } from "./postgres.ts";
import { StartError } from "./start-error.ts";

const log: Log = { info() {}, warn() {}, error() {} };

describe("migrations", () => {
  const folders: string[] = [];
  closeAfterTests().defer(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });
  const makeFolder = (files: Record<string, string>) => {
    const folder = mkdtempSync(join(tmpdir(), "chat4all-migrations-"));
    folders.push(folder);
    for (const [name, sql] of Object.entries(files)) writeFileSync(join(folder, name), sql);
    return folder;
  };
  const empty = makeFolder({});
  const one = { "0001-notes.sql": "create table note (id int);\n" };
  const two = { ...one, "0002-more.sql": "alter table note add body text; insert into note values (1, 'once');" };

  test("run once, in order, and only the new ones later", async () => {
    await using place = await openPlace(empty);
    assert.deepEqual(await migrate(place.pool, { log, folder: makeFolder(one) }), [1]);
    assert.deepEqual(await migrate(place.pool, { log, folder: makeFolder(two) }), [2]);
    assert.deepEqual(await migrate(place.pool, { log, folder: makeFolder(two) }), []);
    assert.equal((await place.pool.query("select from note")).rowCount, 1);
  });

  test("run once when many processes start at the same moment", async () => {
    await using place = await openPlace(empty);
    const folder = makeFolder(two);
    const results = await Promise.all([1, 2, 3, 4].map(() => migrate(place.pool, { log, folder })));
    assert.deepEqual(results.flat().sort(), [1, 2]);
  });

  test("leave nothing behind when they fail, and say where", async () => {
    await using place = await openPlace(empty);
    const broken = { ...one, "0002-broken.sql": "create table half (id int);\nselect wrong;\n" };
    await assert.rejects(
      migrate(place.pool, { log, folder: makeFolder(broken) }),
      /0002-broken\.sql failed in line 2: .*wrong/,
    );
    assert.deepEqual(await migrate(place.pool, { log, folder: makeFolder(two) }), [2]);
  });

  test("that ran are not to be edited; line ends do not count", async () => {
    await using place = await openPlace(empty);
    await migrate(place.pool, { log, folder: makeFolder(one) });
    await migrate(place.pool, { log, folder: makeFolder({ "0001-notes.sql": "create table note (id int);\r\n" }) });
    const edited = makeFolder({ "0001-notes.sql": "create table note (id bigint);\n" });
    await assert.rejects(migrate(place.pool, { log, folder: edited }), isStartError(/0001-notes\.sql was edited/));
  });

  test("refuse a database that is newer than they are", async () => {
    await using place = await openPlace(empty);
    await migrate(place.pool, { log, folder: makeFolder(two) });
    await assert.rejects(
      migrate(place.pool, { log, folder: makeFolder(one) }),
      isStartError(/newer than this program/),
    );
  });

  test("are numbered from 1 without gaps or doubles", async () => {
    await using place = await openPlace(empty);
    const refused = (files: Record<string, string>, pattern: RegExp) =>
      assert.rejects(migrate(place.pool, { log, folder: makeFolder(files) }), isStartError(pattern));
    await refused({ ...one, "0003-late.sql": "" }, /leaves a gap/);
    await refused({ ...one, "0001-other.sql": "" }, /uses the number 1 again/);
    await refused({ ...one, "2-short.sql": "" }, /is not a migration/);
  });
});

async function openPlace(folder: string): Promise<{ pool: Pool; [Symbol.asyncDispose](): Promise<void> }> {
  const database = await createTestDatabase({ migrationsFolder: folder });
  const pool = openPool({ url: database.url, size: 4, applicationName: "test", log });
  return {
    pool,
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database[Symbol.asyncDispose]();
    },
  };
}

function isStartError(pattern: RegExp) {
  return (error: unknown) => error instanceof StartError && pattern.test(error.message);
}
