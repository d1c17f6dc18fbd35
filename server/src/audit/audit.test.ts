import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { newId } from "../lib/ids.ts";
import { type Log, openPool, transaction, withSettings } from "../lib/postgres.ts";
import { openScopes } from "../lib/scoped-pool.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { createTestDatabase, type TestDatabase } from "../testing/test-database.ts";
import {
  type Actor,
  type ChainReport,
  listAuditRecords,
  readAuditRecords,
  recordAuditEvent,
  verifyAuditLog,
} from "./audit.ts";

const log: Log = { info() {}, warn() {}, error: console.error };
const origin = { ip: "203.0.113.7", requestId: "req-1" };

describe("the audit log", () => {
  let database: TestDatabase;
  let owner: ReturnType<typeof openPool>;
  let api: ReturnType<typeof openPool>;
  const dbOf = (workspaceId: string) => openScopes(api, "chat4all.workspace_id")(workspaceId);

  const opened = closeAfterTests();
  before(async () => {
    database = opened.use(await createTestDatabase());
    owner = opened.adopt(openPool({ url: database.url, size: 4, applicationName: "audit test", log }), (owner) =>
      owner.end(),
    );
    const url = withSettings(database.url, ["role=chat4all_api"]);
    api = opened.adopt(openPool({ url, size: 4, applicationName: "audit test", log }), (api) => api.end());
  });

  /** A workspace of its own, whose log begins with `audit_log.started`. */
  async function makeWorkspace(): Promise<string> {
    const id = newId(Date.now());
    await owner.query("INSERT INTO workspaces (workspace_id, name, created_at) VALUES ($1, 'w', now())", [id]);
    return id;
  }

  const actorOf = (workspaceId: string): Actor => ({ kind: "user", callerId: newId(Date.now()), workspaceId, origin });

  async function makeLog(events: number): Promise<string> {
    const workspaceId = await makeWorkspace();
    const by = actorOf(workspaceId);
    for (let i = 2; i <= events; i++)
      await recordAuditEvent(owner, by, { action: "thing.done", details: { number: i } });
    return workspaceId;
  }

  async function verify(workspaceId: string, expectedHash?: string): Promise<ChainReport> {
    const reports: ChainReport[] = [];
    await verifyAuditLog(owner, { workspaceId, expectedHash }, (found) => reports.push(found));
    assert.equal(reports.length, 1);
    return reports[0]!;
  }

  test("records actor, target and origin", async () => {
    const workspaceId = await makeWorkspace();
    const by = actorOf(workspaceId);
    await recordAuditEvent(dbOf(workspaceId), by, {
      action: "user.role_changed",
      target: { type: "user", id: "an id" },
      details: { role: "admin", was: null, times: 3, forced: false },
    });
    const [record, first] = await listAuditRecords(dbOf(workspaceId), workspaceId, { limit: 10 });
    assert.equal(first!.action, "audit_log.started");
    assert.equal(first!.position, 1);
    assert.deepEqual(
      { ...record!, at: null, hash: null },
      {
        workspace_id: workspaceId,
        position: 2,
        at: null,
        actor_kind: "user",
        actor_id: "callerId" in by ? by.callerId : null,
        action: "user.role_changed",
        target_type: "user",
        target_id: "an id",
        details: { role: "admin", was: null, times: 3, forced: false },
        ip: "203.0.113.7",
        request_id: "req-1",
        hash: null,
      },
    );
    assert.ok(Math.abs(record!.at.getTime() - Date.now()) < 60_000);
    assert.equal((await verify(workspaceId)).problem, null);
  });

  test("has no record and no gap for a failed transaction", async () => {
    const workspaceId = await makeLog(2);
    const by = actorOf(workspaceId);
    await assert.rejects(
      transaction(owner, async (tx) => {
        await recordAuditEvent(tx, by, { action: "thing.done" });
        throw new Error("after all not");
      }),
      /after all not/,
    );
    await recordAuditEvent(owner, by, { action: "thing.done" });
    const { records, problem } = await verify(workspaceId);
    assert.deepEqual({ records, problem }, { records: 3, problem: null });
  });

  test("is one chain without gaps under concurrent writes", async () => {
    const [one, other] = [await makeLog(1), await makeLog(1)];
    const events = Array.from({ length: 40 }, (_, i) =>
      recordAuditEvent(owner, actorOf(i % 2 ? one : other), { action: "thing.done", details: { number: i } }),
    );
    await Promise.all(events);
    for (const workspaceId of [one, other]) {
      const { records, problem } = await verify(workspaceId);
      assert.deepEqual({ records, problem }, { records: 21, problem: null });
    }
  });

  test("hashes any text the same in PostgreSQL and here", async () => {
    const workspaceId = await makeWorkspace();
    const odd = 'quote " backslash \\ slash / tab \t line \n \u0001\u001f\u007f é 日本 😀 \u2028 </script>';
    await recordAuditEvent(
      owner,
      { kind: "anonymous", workspaceId, origin: { ip: null, requestId: odd } },
      {
        action: "thing.done",
        target: { type: odd, id: odd },
        details: { zz: odd, a: Number.MAX_SAFE_INTEGER, aa: -0, b_1: "", long_name: true },
      },
    );
    const { records, problem } = await verify(workspaceId);
    assert.deepEqual({ records, problem }, { records: 2, problem: null });
  });

  test("refuses details without a canonical form, and invalid actions", async () => {
    const by = actorOf(await makeWorkspace());
    for (const details of [{ half: 0.5 }, { "a b": 1 }, { Big: 1 }, { huge: 2 ** 60 }, { text: "x".repeat(5_000) }]) {
      await assert.rejects(
        recordAuditEvent(owner, by, { action: "thing.done", details: details as never }),
        /thing\.done/,
      );
    }
    const nested = { inside: { a: 1 } } as never;
    await assert.rejects(recordAuditEvent(owner, by, { action: "thing.done", details: nested }), /flat/);
    await assert.rejects(recordAuditEvent(owner, by, { action: "Delete everything" }), /not a valid action/);
  });

  test("lets a request add events of its own workspace only, and change none", async () => {
    const [own, other] = [await makeLog(2), await makeLog(2)];
    const db = dbOf(own);
    await assert.rejects(recordAuditEvent(db, actorOf(other), { action: "thing.done" }), /own workspace only/);
    assert.deepEqual(await readAuditRecords(db, other, 0, 10), []);
    assert.equal((await readAuditRecords(db, own, 0, 10)).length, 2);
    for (const role of ["chat4all_api", "chat4all_identity", "chat4all_pipeline"]) {
      for (const statement of [
        "UPDATE audit_log SET action = 'x.y'",
        "DELETE FROM audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_heads SET position = 0",
        "DELETE FROM audit_heads",
        "TRUNCATE audit_heads",
        "DROP TRIGGER begin_audit_log ON workspaces",
      ]) {
        const attempt = transaction(owner, async (tx) => {
          await tx.query(`SET LOCAL ROLE ${role}`);
          await tx.query("SELECT set_config('chat4all.workspace_id', $1, true)", [own]);
          await tx.query(statement);
        });
        await assert.rejects(attempt, { code: "42501" }, `${role}: ${statement}`);
      }
    }
  });

  test("is not redirected to temporary tables of a session", async () => {
    const workspaceId = await makeLog(2);
    await transaction(owner, async (tx) => {
      await tx.query("SET LOCAL ROLE chat4all_identity");
      await tx.query(
        "CREATE TEMP TABLE audit_heads (workspace_id uuid PRIMARY KEY, position bigint, hash bytea) ON COMMIT DROP",
      );
      await recordAuditEvent(tx, actorOf(workspaceId), { action: "thing.done" });
    });
    const { records, problem } = await verify(workspaceId);
    assert.deepEqual({ records, problem }, { records: 3, problem: null });
  });

  describe("shows", () => {
    const tampered: [name: string, sql: string, problem: RegExp][] = [
      [
        "an edited detail",
        `UPDATE audit_log SET details = '{"number": 99}' WHERE position = 3`,
        /^record 3 does not match/,
      ],
      ["an edited address", "UPDATE audit_log SET ip = '198.51.100.1' WHERE position = 3", /^record 3 does not match/],
      [
        "an edited time",
        "UPDATE audit_log SET at = at + interval '1 ms' WHERE position = 4",
        /^record 4 does not match/,
      ],
      ["an edited first record", "UPDATE audit_log SET action = 'x.y' WHERE position = 1", /^record 1 does not match/],
      ["an edited last record", "UPDATE audit_log SET actor_id = NULL WHERE position = 6", /^record 6 does not match/],
      ["an edited hash", `UPDATE audit_log SET hash = sha256('x') WHERE position = 4`, /^record 4 does not match/],
      ["a deleted record", "DELETE FROM audit_log WHERE position = 4", /^record 4 is missing/],
      ["a deleted first record", "DELETE FROM audit_log WHERE position = 1", /^record 1 is missing/],
      [
        "a deleted record whose gap was closed",
        "DELETE FROM audit_log WHERE position = 4; UPDATE audit_log SET position = position - 1 WHERE position > 4",
        /^record 4 does not match/,
      ],
      [
        "swapped records",
        "UPDATE audit_log SET position = 99 WHERE position = 3; UPDATE audit_log SET position = 3 WHERE position = 4; " +
          "UPDATE audit_log SET position = 4 WHERE position = 99",
        /^record 3 does not match/,
      ],
      [
        "an inserted record",
        "UPDATE audit_log SET position = position + 100 WHERE position > 3; UPDATE audit_log SET position = position - 99 WHERE position > 100; " +
          "INSERT INTO audit_log SELECT workspace_id, 4, at, actor_kind, actor_id, 'thing.invented', target_type, target_id, details, ip, request_id, hash FROM audit_log WHERE position = 3",
        /^record 4 does not match/,
      ],
      [
        "a record put behind the end",
        "INSERT INTO audit_log SELECT workspace_id, 7, at, actor_kind, actor_id, action, target_type, target_id, details, ip, request_id, hash FROM audit_log WHERE position = 6",
        /^record 7 does not match/,
      ],
      ["a cut end", "DELETE FROM audit_log WHERE position > 4", /^records 5 to 6 were deleted at the end/],
      ["a cut last record", "DELETE FROM audit_log WHERE position = 6", /^record 6 was deleted at the end/],
      ["a head set back", "UPDATE audit_heads SET position = 5", /^record 6 is after the head/],
      ["a head with another hash", "UPDATE audit_heads SET hash = sha256('x')", /^the head does not match/],
      ["a missing head", "DELETE FROM audit_heads", /^the head is missing/],
      ["a deleted log", "DELETE FROM audit_log; DELETE FROM audit_heads", /^the log is empty/],
    ];
    for (const [name, sql, problem] of tampered) {
      test(name, async () => {
        const workspaceId = await makeLog(6);
        assert.equal((await verify(workspaceId)).problem, null);
        for (const statement of sql.split("; ")) await owner.query(within(statement, workspaceId));
        assert.match((await verify(workspaceId)).problem ?? "nothing", problem);
      });
    }

    /** The statement with its rows narrowed to one workspace. */
    function within(statement: string, workspaceId: string): string {
      const condition = `workspace_id = '${workspaceId}'`;
      return statement.includes("WHERE")
        ? statement.replace(/WHERE (?!.*WHERE)/, `WHERE ${condition} AND `)
        : `${statement} WHERE ${condition}`;
    }

    test("detects a log that was rewritten from the start, by a hash that was noted before", async () => {
      const workspaceId = await makeLog(4);
      const { hash } = await verify(workspaceId);
      await recordAuditEvent(owner, actorOf(workspaceId), { action: "thing.done" });
      assert.equal((await verify(workspaceId, hash)).isExpectedHere, true);
      await owner.query("DELETE FROM audit_log WHERE workspace_id = $1", [workspaceId]);
      await owner.query("DELETE FROM audit_heads WHERE workspace_id = $1", [workspaceId]);
      for (let i = 0; i < 4; i++) await recordAuditEvent(owner, actorOf(workspaceId), { action: "thing.invented" });
      const { problem, isExpectedHere } = await verify(workspaceId, hash);
      assert.deepEqual({ problem, isExpectedHere }, { problem: null, isExpectedHere: false });
    });
  });
});
