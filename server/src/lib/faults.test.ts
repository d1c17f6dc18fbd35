import assert from "node:assert/strict";
import { before, test } from "node:test";
import pg from "pg";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import { faultCode, isDatabaseTrouble, isRecordFault } from "./faults.ts";
import { SecretBoxError } from "./secret-box.ts";

let database: TestDatabase;
let client: pg.Client;
const opened = closeAfterTests();
before(async () => {
  database = opened.use(await createTestDatabase());
  client = new pg.Client({ connectionString: database.url });
  opened.defer(() => client.end());
  await client.connect();
});

/** The error that PostgreSQL itself returns. */
function raised(sqlState: string): Promise<unknown> {
  return client.query(`DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '${sqlState}'; END $$`).then(
    () => assert.fail("nothing was raised"),
    (error) => error,
  );
}

const setAside = ["21000", "22000", "22001", "22003", "22021", "22P02", "23502", "23503", "23505", "23514", "54000"];
const waits = [
  ...["08000", "08006", "0A000", "25006", "25P03", "40001", "40P01", "42501", "42601", "42P01", "53000", "53100"],
  ...["53200", "53300", "55000", "55P03", "57000", "57014", "57P01", "57P02", "57P03", "58000", "58030", "F0000"],
  ...["HV000", "P0001", "XX000", "XX001", "XX002"],
];
for (const [states, isData] of [
  [setAside, true],
  [waits, false],
] as const) {
  for (const state of states) {
    test(`${state} ${isData ? "counts against the record" : "makes the record wait"}`, async () => {
      const error = await raised(state);
      assert.equal(isRecordFault(error), isData);
      assert.equal(faultCode(error), state);
      // Also when our own code wrapped it.
      const wrapped = new TypeError("could not write", { cause: new Error("inside", { cause: error }) });
      assert.equal(isRecordFault(wrapped), isData);
      assert.equal(faultCode(wrapped), state);
    });
  }
}

const systemError = (code: string) => Object.assign(new Error(code), { code });

test("errors of the system, the network and keys make the record wait", () => {
  for (const error of [
    ...["ECONNREFUSED", "ENOSPC", "EIO", "EPIPE", "EMFILE", "ENOMEM", "ENOTFOUND", "EAI_AGAIN"].map(systemError),
    new AggregateError([systemError("ECONNREFUSED")], ""),
    new Error("Connection terminated unexpectedly"),
    new Error("timeout exceeded when trying to connect"),
    new SecretBoxError("The secret was sealed with another key."),
  ]) {
    assert.equal(isRecordFault(error), false, error.message);
  }
});

test("a bug that a record's data causes counts against the record", () => {
  const errors = [new TypeError("x is undefined"), new RangeError("too long"), new Error("a rule was broken"), "text"];
  for (const error of [...errors, Object.assign(new TypeError("bad"), { code: "ERR_INVALID_ARG_TYPE" })]) {
    assert.equal(isRecordFault(error), true, String(error));
  }
});

test("only errors that pass when the database is healthy again count as a database problem", async () => {
  for (const state of ["53100", "57014", "25006", "58030", "40001", "55P03", "08006"]) {
    assert.equal(isDatabaseTrouble(await raised(state)), true, state);
  }
  for (const state of ["42501", "42P01", "23505", "22P02", "XX000"]) {
    assert.equal(isDatabaseTrouble(await raised(state)), false, state);
  }
  // The last two: the name server knows no such host at present, or does not respond.
  for (const code of ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]) {
    assert.equal(isDatabaseTrouble(systemError(code)), true, code);
  }
  assert.equal(isDatabaseTrouble(new TypeError("a bug")), false);
});
