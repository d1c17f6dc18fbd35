import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { createTestDatabase } from "../testing/test-database.ts";
import { systemClock } from "./clock.ts";
import { derivedId, firstIdAt, lastIdAt } from "./ids.ts";
import { dropPartitions, makePartitions, type PartitionedTable, type Period } from "./partitions.ts";
import { type Log, openPool, type Pool, transaction, withSettings } from "./postgres.ts";
import { all, one, run } from "./query.ts";

const log: Log = { info() {}, warn() {}, error() {} };

describe("partitions by time", () => {
  test("hold the present period and the next one, however often and by however many processes they are made", async () => {
    await using place = await openPlace();
    await Promise.all([1, 2, 3].map(() => place.make("2026-01-15")));
    await place.make("2026-01-31");
    assert.deepEqual(await place.names(), ["notes_from_20260101", "notes_from_20260201"]);
    await place.make("2026-02-01");
    assert.deepEqual(await place.names(), ["notes_from_20260101", "notes_from_20260201", "notes_from_20260301"]);
  });

  test("of months in which no hub ran are not made, and rows of that time are found", async () => {
    await using place = await openPlace();
    await place.make("2026-01-15");
    const id = await place.write("2026-04-10");
    await place.make("2026-06-20");
    assert.deepEqual(await place.names(), [
      ...["notes_from_20260101", "notes_from_20260201", "notes_from_20260601", "notes_from_20260701"],
    ]);
    assert.equal(await place.partitionOf(id), "notes_others");
  });

  for (const year of [2026, 2126]) {
    test(`take over the rows of their time that had no partition yet, in ${year}`, async () => {
      await using place = await openPlace();
      const [before, inside, after] = [
        await place.write(`${year}-02-28T23:59:59.999Z`),
        await place.write(`${year}-03-01T00:00:00.000Z`),
        await place.write(`${year}-05-01T00:00:00.000Z`),
      ];
      const ofNoTime = await place.write(`${year}-03-10`, "7b1d3f0e-0000-4000-8000-000000000000");
      await place.make(`${year}-03-10`);
      assert.equal(await place.partitionOf(before), "notes_others");
      assert.equal(await place.partitionOf(inside), `notes_from_${year}0301`);
      assert.equal(await place.partitionOf(after), "notes_others");
      assert.equal(await place.partitionOf(ofNoTime), "notes_others");
    });
  }

  test("made by a process that died half-way are made by the next one", async () => {
    await using place = await openPlace();
    const id = await place.write("2126-03-10");
    await run(place.db, "SELECT prepare_partition('notes', '2126-03-01Z', '2126-04-01Z')");
    await place.make("2126-03-10");
    assert.equal(await place.partitionOf(id), "notes_from_21260301");
    const checks = await all(place.db, "SELECT FROM pg_constraint WHERE conname ~ '^none_of_'");
    assert.equal(checks.length, 0);
  });

  test("wait for a lock only briefly, and are made when it is free", async () => {
    await using place = await openPlace();
    await place.make("2026-01-15");
    let making: Promise<void> | undefined;
    let isMade = false;
    await transaction(place.db, async (tx) => {
      await tx.query("LOCK TABLE notes_others IN ROW EXCLUSIVE MODE");
      making = place.make("2026-02-01").then(() => {
        isMade = true;
      });
      for (let round = 0; round < 20; round += 1) await place.write("2026-03-10");
      assert.equal(isMade, false);
    });
    await making;
    assert.deepEqual((await place.names()).at(-1), "notes_from_20260301");
    assert.equal((await one<{ count: number }>(place.db, "SELECT count(*) FROM notes_from_20260301")).count, 20);
  });

  test("have the columns, indexes, storage parameters and triggers of the table, and no privileges", async () => {
    await using place = await openPlace();
    await place.make("2026-01-15");
    const facts = await all<{
      relname: string;
      acl: string;
      options: string[];
      secure: boolean;
      indexes: number;
      triggers: number;
    }>(
      place.db,
      `SELECT c.relname, array_to_string(c.relacl, ' ') AS acl, c.reloptions AS options,
         c.relrowsecurity AND c.relforcerowsecurity AS secure,
         (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) AS indexes,
         (SELECT count(*) FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers
       FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE i.inhparent = 'notes'::regclass`,
    );
    assert.equal(facts.length, 3);
    for (const { relname, acl, options, secure, indexes, triggers } of facts) {
      assert.deepEqual([options, secure, indexes, triggers], [["fillfactor=70"], true, 3, 1], relname);
      assert.doesNotMatch(acl, /chat4all_(api|pipeline)/, relname);
    }
    const id = await place.write("2026-01-20");
    await assert.rejects(place.write("2026-01-20", id), /duplicate key/);
  });

  test("are dropped when all of their time is old; the rows that are kept survive", async () => {
    await using place = await openPlace();
    for (const day of ["2026-01-15", "2026-03-15"]) await place.make(day);
    const old = await place.write("2026-01-20");
    const young = await place.write("2026-02-20");
    const writtenLater = await place.write("2026-03-20", idOf("2026-01-21"));
    assert.deepEqual(await place.drop("2026-02-20"), []);
    assert.deepEqual(await place.names(), [...["notes_from_20260201", "notes_from_20260301", "notes_from_20260401"]]);
    assert.equal(await place.partitionOf(old), null);
    assert.equal(await place.partitionOf(young), "notes_from_20260201");
    assert.equal(await place.partitionOf(writtenLater), "notes_others");
  });

  test("stay while a row is needed, which holds up no other partition", async () => {
    await using place = await openPlace();
    for (const day of ["2026-01-15", "2026-03-15"]) await place.make(day);
    const needed = await place.write("2026-01-20", undefined, true);
    const old = await place.write("2026-02-20");
    assert.deepEqual(await place.drop("2026-03-10"), ["notes_from_20260101"]);
    assert.deepEqual([await place.partitionOf(needed), await place.partitionOf(old)], ["notes_from_20260101", null]);
    await run(place.db, "UPDATE notes SET is_open = false");
    assert.deepEqual(await place.drop("2026-03-10"), []);
    assert.equal(await place.partitionOf(needed), null);
  });

  test("without a partition, old rows are deleted by their age", async () => {
    await using place = await openPlace();
    await place.make("2026-03-15");
    const at = (day: string, isOpen = false) => place.write(day, crypto.randomUUID(), isOpen);
    const [old, needed, young] = [await at("2026-01-20"), await at("2026-01-20", true), await at("2026-03-20")];
    await place.drop("2026-03-01");
    const found = await all<{ note_id: string }>(place.db, "SELECT note_id FROM notes ORDER BY number");
    assert.deepEqual(
      found.map(({ note_id }) => note_id),
      [needed, young],
    );
    assert.ok(old);
  });

  test("of a longer period than today's lose their old rows one by one", async () => {
    await using place = await openPlace();
    await place.make("2026-03-15", "year");
    const [old, young] = [await place.write("2026-01-20"), await place.write("2026-03-10")];
    await place.drop("2026-02-15");
    assert.deepEqual([await place.partitionOf(old), await place.partitionOf(young)], [null, "notes_from_20260101"]);
    await place.make("2027-12-15", "month");
    assert.deepEqual((await place.names()).slice(1), ["notes_from_20270101", "notes_from_20280101"]);
  });

  test("follow quarters and weeks too", async () => {
    await using place = await openPlace();
    await place.make("2026-02-15", "quarter");
    assert.deepEqual(await place.names(), ["notes_from_20260101", "notes_from_20260401"]);
    await place.make("2026-06-30", "week");
    assert.deepEqual((await place.names()).slice(2), ["notes_from_20260701", "notes_from_20260706"]);
  });
});

/** As on a managed server: policies apply to the owner too, and must not hide rows from it while it moves them. */
test("the pipeline makes and drops partitions of an owner that is not a superuser, and loses no row that is kept", async () => {
  await using place = await openPlace();
  const owner = `c4a_owner_${randomBytes(6).toString("hex")}`;
  await run(place.db, `CREATE ROLE ${owner} LOGIN PASSWORD 'for this test'`);
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    await run(place.db, `DROP OWNED BY ${owner} CASCADE`);
    await run(place.db, `DROP ROLE ${owner}`);
  });
  await run(
    place.db,
    `GRANT chat4all_api, chat4all_identity, chat4all_pipeline TO ${owner}; GRANT USAGE, CREATE ON SCHEMA public TO ${owner};
     ALTER TABLE notes OWNER TO ${owner}; ALTER TABLE notes_others OWNER TO ${owner}; GRANT ALL ON partitioned_tables TO ${owner};
     ALTER TABLE notes ENABLE ROW LEVEL SECURITY; ALTER TABLE notes FORCE ROW LEVEL SECURITY;
     CREATE POLICY of_pipeline ON notes TO chat4all_pipeline USING (true) WITH CHECK (true)`,
  );
  for (const name of ["prepare_partition", "attach_partition", "drop_partition", "delete_old_rows"])
    await run(place.db, `ALTER FUNCTION ${name} OWNER TO ${owner}`);
  const url = withSettings(place.url, ["role=chat4all_pipeline"]);
  const pipeline = stack.adopt(openPool({ url, size: 1, applicationName: "test", log }), (pool) => pool.end());
  const deps = { db: pipeline, clock: systemClock };
  const notes: PartitionedTable = { name: "notes", period: "month" };
  await makePartitions(deps, [notes], new Date("2026-01-15"));
  const old = await place.write("2026-01-20");
  const kept = await place.write("2026-03-20", idOf("2026-01-21"));
  assert.deepEqual(await dropPartitions(deps, notes, new Date("2026-02-10")), []);
  assert.deepEqual([await place.partitionOf(old), await place.partitionOf(kept)], [null, "notes_others"]);
  await makePartitions(deps, [notes], new Date("2026-03-15"));
  assert.equal(await place.partitionOf(kept), "notes_others");
  await dropPartitions(deps, notes, new Date("2026-04-01"));
  assert.equal(await place.partitionOf(kept), null);
});

test("an id is between the first and the last id of its millisecond, in SQL as in JavaScript", async () => {
  await using place = await openPlace();
  for (const ms of [0, 1, 1_767_225_599_999, 1_767_225_600_000, 4_102_444_800_001]) {
    const sql = await one<{ first: string; last: string; ms: number }>(
      place.db,
      "SELECT first_id_at($1) AS first, last_id_at($1) AS last, extract(epoch FROM time_of_id(first_id_at($1))) * 1000 AS ms",
      [new Date(ms)],
    );
    assert.deepEqual([sql.first, sql.last, Number(sql.ms)], [firstIdAt(ms), lastIdAt(ms), ms]);
    const id = derivedId(ms, "a note");
    assert.ok(sql.first < id && id < sql.last);
  }
});

async function openPlace() {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const db: Pool = stack.adopt(openPool({ url: database.url, size: 4, applicationName: "test", log }), (pool) =>
    pool.end(),
  );
  await run(
    db,
    `CREATE TABLE notes (
       note_id uuid PRIMARY KEY, number bigint GENERATED BY DEFAULT AS IDENTITY, is_open boolean NOT NULL, written_at timestamptz NOT NULL
     ) WITH (fillfactor = 70);
     CREATE INDEX notes_open ON notes (note_id) WHERE is_open;
     CREATE UNIQUE INDEX notes_by_number ON notes (number);
     CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
     CREATE TRIGGER note_written AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION note_written();
     CALL partition_by_time('notes', 'note_id', 'written_at', 'written_at >= $1', 'is_open')`,
  );
  const opened = stack.move();
  const of = (period: Period): PartitionedTable => ({ name: "notes", period });
  return {
    db,
    url: database.url,
    make: (day: string, period: Period = "month") =>
      makePartitions({ db, clock: systemClock }, [of(period)], new Date(day)),
    drop: (before: string) => dropPartitions({ db, clock: systemClock }, of("month"), new Date(before)),
    async write(at: string, id: string = idOf(at), isOpen = false): Promise<string> {
      await run(db, "INSERT INTO notes (note_id, is_open, written_at) VALUES ($1, $2, $3)", [id, isOpen, at]);
      return id;
    },
    async names(): Promise<string[]> {
      return (await all<{ name: string }>(db, "SELECT name FROM partitions_by_time('notes')")).map(({ name }) => name);
    },
    async partitionOf(id: string): Promise<string | null> {
      const rows = await all<{ name: string }>(
        db,
        "SELECT tableoid::regclass::text AS name FROM notes WHERE note_id = $1",
        [id],
      );
      return rows[0]?.name ?? null;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

function idOf(at: string): string {
  return derivedId(Date.parse(at), crypto.randomUUID());
}
