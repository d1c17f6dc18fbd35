import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { until } from "../testing/until.ts";
import { isRetryableDbError, type Log, openPool, type PoolClient, transaction } from "./postgres.ts";
import { joinTexts, plainArray, splitTexts } from "./query.ts";

describe("a pool", () => {
  const lines: string[] = [];
  const note = (_fields: object, message: string) => void lines.push(message);
  const log: Log = { info() {}, warn: note, error: note };
  let database: TestDatabase;
  let pool: ReturnType<typeof openPool>;
  const opened = closeAfterTests();
  before(async () => {
    database = opened.use(await createTestDatabase());
    pool = opened.adopt(openPool({ url: database.url, size: 3, applicationName: "test", log }), (pool) => pool.end());
    await pool.query("create table note (id int primary key, body text)");
  });
  const kill = (pid: number) => pool.query("select pg_terminate_backend($1)", [pid]);
  const notes = async () => (await pool.query("select body from note order by id")).rows.map((row) => row.body);

  test("reads large integers as numbers, times as dates, and refuses what does not fit", async () => {
    const { rows } = await pool.query("select 9007199254740991::int8 as seq, '{1,null}'::int8[] as seqs, now() as at");
    assert.deepEqual([rows[0].seq, rows[0].seqs], [9007199254740991, [1, null]]);
    assert.ok(rows[0].at instanceof Date);
    await assert.rejects(pool.query("select 9007199254740993::int8"), RangeError);
    assert.equal((await pool.query("select count(*) from note")).rows[0].count, 0);
  });

  test("writes texts and arrays that PostgreSQL reads as they were", async () => {
    const texts = [
      "",
      "null",
      "a,b}",
      '{"',
      "\\",
      '\\"',
      " ",
      "line\nbreak\t\u0001\u007f",
      "👍\u2028",
      "\ud800",
      "\u0000",
      "\u001e",
    ];
    const values = [...texts, null, 1.5, [texts, []], { [texts.join("")]: texts }];
    for (const given of [values, ["NULL"], []]) {
      const json = given.map((value) => JSON.stringify(value));
      const { rows } = await pool.query(`select ${splitTexts("$1")} as jsons, $2::text[] as plain`, [
        joinTexts(json),
        plainArray([1, true, null, "a-b", undefined]),
      ]);
      assert.deepEqual(rows[0].jsons, json);
      assert.deepEqual(rows[0].plain, ["1", "true", null, "a-b", null]);
    }
  });

  test("survives the loss of an idle connection", async () => {
    const [idle, killer] = await Promise.all([pool.connect(), pool.connect()]);
    const { pid } = (await idle.query("select pg_backend_pid() as pid")).rows[0];
    idle.release();
    await killer.query("select pg_terminate_backend($1)", [pid]);
    killer.release();
    await until("the loss is logged", () => lines.includes("database connection lost"));
    assert.equal((await pool.query("select 1 as one")).rows[0].one, 1);
  });

  test("does not cut a long statement that the server works on", async () => {
    lines.length = 0;
    const { rows } = await pool.query("select pg_sleep(3.5), pg_backend_pid() as pid");
    assert.equal((await pool.query("select pg_backend_pid() as pid")).rows[0].pid, rows[0].pid);
    assert.deepEqual(lines, []);
  });

  test("commits what returns and rolls back what throws", async () => {
    const result = await transaction(pool, async (tx) => {
      await tx.query("insert into note values (1, 'kept')");
      return "done";
    });
    assert.equal(result, "done");
    const refused = transaction(pool, async (tx) => {
      await tx.query("insert into note values (2, 'gone')");
      throw new Error("no");
    });
    await assert.rejects(refused, { message: "no" });
    assert.deepEqual(await notes(), ["kept"]);
  });

  // PostgreSQL responds to such a commit with a rollback and no error: rows that were reported as written are lost.
  test("a transaction that hides its error is not reported as committed", async () => {
    const hiding = transaction(pool, async (tx) => {
      await tx.query("insert into note values (3, 'lost')");
      await tx.query("select 1 / 0").catch(() => {});
    });
    await assert.rejects(hiding, /rolled back/);
    assert.deepEqual(await notes(), ["kept"]);
  });

  test("a connection lost in the middle of a transaction fails that transaction only, and can be tried again", async () => {
    const cut = transaction(pool, async (tx) => {
      const { pid } = (await tx.query("select pg_backend_pid() as pid")).rows[0];
      await kill(pid);
      await tx.query("insert into note values (4, 'lost')");
    });
    await assert.rejects(cut, isRetryableDbError);
    assert.deepEqual(await notes(), ["kept"]);
  });

  // Otherwise a forgotten commit holds its locks, and later work runs in its transaction, as long as the pool lives.
  test("a connection that is released inside a transaction is closed and logged", async () => {
    await pool.query("insert into note values (7, 'seven')");
    for (const leave of [
      async (client: PoolClient) => void (await client.query("update note set body = 'taken' where id = 7")),
      async (client: PoolClient) => void (await client.query("select 1 / 0").catch(() => {})),
      // The response to the last statement is still on its way.
      async (client: PoolClient) => void client.query("select pg_sleep(0.05)"),
    ]) {
      lines.length = 0;
      const client = await pool.connect();
      await client.query("begin");
      const { pid } = (await client.query("select pg_backend_pid() as pid")).rows[0];
      await leave(client);
      client.release();
      await until("something is logged", () => lines.length > 0);
      assert.deepEqual(lines, ["bug: a database connection was released inside a transaction; it was closed"]);
      await Promise.all(
        Array.from({ length: 3 }, async () => {
          const { rows } = await pool.query("select pg_backend_pid() as pid, pg_sleep(0.05)");
          assert.notEqual(rows[0].pid, pid);
        }),
      );
    }
    assert.equal((await pool.query("select body from note where id = 7")).rows[0].body, "seven");
  });

  test("a connection whose statement failed goes back to the pool", async () => {
    lines.length = 0;
    const client = await pool.connect();
    const { pid } = (await client.query("select pg_backend_pid() as pid")).rows[0];
    await assert.rejects(client.query("select 1 / 0"));
    client.release();
    await until("the connection is idle", () => pool.idleCount > 0);
    const again = await Promise.all(
      Array.from({ length: 3 }, () => pool.query("select pg_backend_pid() as pid, pg_sleep(0.05)")),
    );
    assert.ok(again.some(({ rows }) => rows[0].pid === pid));
    assert.deepEqual(lines, []);
  });

  test("a deadlock can be tried again, a duplicate cannot", async () => {
    await pool.query("insert into note values (5, 'five'), (6, 'six')");
    const bothLocked = Promise.withResolvers<void>();
    let locked = 0;
    const cross = (first: number, second: number) =>
      transaction(pool, async (tx) => {
        await tx.query("select from note where id = $1 for update", [first]);
        if (++locked === 2) bothLocked.resolve();
        await bothLocked.promise;
        await tx.query("select from note where id = $1 for update", [second]);
      });
    const outcomes = await Promise.allSettled([cross(5, 6), cross(6, 5)]);
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    assert.equal(failed.length, 1);
    assert.equal(isRetryableDbError(failed[0]!.reason), true);
    const duplicate = await pool.query("insert into note values (5, 'again')").catch((error) => error);
    assert.equal(isRetryableDbError(duplicate), false);
  });
});

test("an address where nothing listens can be tried again, also through a wrapping error", async () => {
  const pool = openPool({ url: "postgres://nobody@127.0.0.1:1/none", size: 1, applicationName: "test", log: silent });
  const error = await pool.query("select 1").catch((cause) => new Error("wrapped", { cause }));
  assert.equal(isRetryableDbError(error), true);
  assert.equal(isRetryableDbError(new Error("a bug")), false);
  await pool.end();
});

const silent: Log = { info() {}, warn() {}, error() {} };
