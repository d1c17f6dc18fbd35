import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { patient } from "../testing/patience.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { until } from "../testing/until.ts";
import { type Clock, systemClock } from "./clock.ts";
import { openDatabaseClock } from "./database-clock.ts";
import { openPool } from "./postgres.ts";

const hour = 3_600_000;

describe("the database's clock", () => {
  let database: TestDatabase;
  let pool: ReturnType<typeof openPool>;
  const lines: object[] = [];
  const log = { info() {}, warn: (fields: object) => void lines.push(fields), error() {} };
  const opened = closeAfterTests();
  before(async () => {
    database = opened.use(await createTestDatabase());
    pool = openPool({ url: database.url, size: 1, applicationName: "test", log });
    opened.defer(() => pool.end());
  });

  test("gives the database's time on a machine whose clock is wrong, and warns of it", async () => {
    for (const aheadMs of [-hour, hour]) {
      lines.length = 0;
      await using clock = await open({ ...systemClock, now: () => Date.now() + aheadMs });
      assert.ok(Math.abs(clock.now() - Date.now()) < patient(5_000));
      const [{ ahead_ms }] = lines as [{ ahead_ms: number }];
      assert.ok(Math.abs(ahead_ms - aheadMs) < patient(5_000));
    }
  });

  test("does not move when the machine's clock is set", async () => {
    let aheadMs = 0;
    await using clock = await open({ ...systemClock, now: () => Date.now() + aheadMs });
    for (aheadMs of [-40_000, -hour, hour, 0]) {
      const [before, now] = [Date.now(), clock.now()];
      assert.ok(Math.abs(now - before) < patient(5_000), `${now - before} ms off`);
    }
  });

  // The monotonic clock stops while a machine sleeps.
  test("asks the database again after the machine has slept", async () => {
    let sleptMs = 0;
    await using clock = await open({ ...systemClock, elapsed: () => performance.now() - sleptMs });
    sleptMs = hour;
    await until("the clock is right again", async () => Math.abs(clock.now() - Date.now()) < patient(5_000));
  });

  const open = (clock: Clock) => openDatabaseClock({ db: pool, clock, log });
});
