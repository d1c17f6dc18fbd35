import assert from "node:assert/strict";
import { test } from "node:test";
import { readFeed, readHeads } from "../events/events.ts";
import { newId } from "../lib/ids.ts";
import { one } from "../lib/query.ts";
import { lacks } from "../testing/programs.ts";
import { startStockPostgres } from "../testing/stock-postgres.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { topics } from "../topics.ts";
import { Acceptor } from "./accept.ts";
import type { NewMessage } from "./write-messages.ts";

/** A commit that waits for a synchronous standby that is not there is not durable, and stays so. */
test(
  "until a message is durable its locks have ended, and nobody learns of it",
  { skip: lacks("postgres") },
  async () => {
    await using server = await startStockPostgres();
    await using line = await startPipeline({ server: server.url, delivers: false });
    const chat = await line.addConversation(await line.addPerson("ana"));
    const message: NewMessage = {
      ...{
        workspaceId: line.workspaceId,
        messageId: newId(Date.now()),
        conversationId: chat,
        senderId: line.workspaceId,
      },
      ...{
        mustBeMember: false,
        direction: "outbound",
        payload: '{"text":"oi","type":"text"}',
        channels: null,
        options: null,
      },
      ...{ to: null, replyTo: null, reactsTo: null, metadata: null, origin: null },
    };
    const notified: string[] = [];
    const note = async (what: string, work: Promise<unknown>) => {
      const result = await work;
      notified.push(what);
      return result;
    };
    const subscription = line.bus.subscribe(topics.outgoing("phone"), "test", {
      maxBatch: 10,
      handle: () => note("a consumer", Promise.resolve()).then(() => {}),
    });
    await using _ = { [Symbol.asyncDispose]: () => subscription.close() };

    await requireStandby(line, "nobody");
    const reads: Promise<unknown>[] = [note("the sender", line.acceptor.accept([message]))];
    let again: ReturnType<Acceptor["accept"]>;
    try {
      await waiters(line, 1);
      const db = line.databases.dbOf(line.workspaceId);
      again = secondAcceptor(line).accept([message]);
      reads.push(note("a repeated request", again));
      reads.push(note("a reader of the feed", readFeed(db, line.workspaceId, 0, 10)));
      reads.push(note("a reader of heads", readHeads(db, [line.workspaceId])));
      // The consumer of the bus is the fifth; where the step routes, that is the first consumer.
      await waiters(line, 5);
      assert.equal(notified.join(), "");
      for (const table of ["conversations", "event_heads", "bus_heads"])
        assert.ok(await isUnlocked(line, table), table);
      assert.equal((await one<{ count: number }>(line.admin, "SELECT count(*) AS count FROM messages")).count, 1);
    } finally {
      await requireStandby(line, "");
    }
    await Promise.all(reads);
    await until("the consumer has it", () => notified.includes("a consumer"));
    const [first] = await again;
    assert.equal(first!.kind === "accepted" && first!.isReplayed, true);
  },
);

test("a server that does not say how far it has flushed still accepts and sends messages", async () => {
  await using line = await startPipeline();
  await line.admin.query("REVOKE EXECUTE ON FUNCTION pg_current_wal_insert_lsn() FROM PUBLIC");
  await assert.rejects(line.databases.pipelineDb.query("SELECT pg_current_wal_insert_lsn()"), /permission denied/);
  const { messageId } = await line.say(await line.addConversation(await line.addPerson("ana")), "oi");
  await line.settled();
  assert.equal((await line.deliveryOf(messageId)).status, "sent");
  const page = await readFeed(line.databases.dbOf(line.workspaceId), line.workspaceId, 0, 10);
  assert.equal(page.kind, "events");
});

async function isUnlocked(line: Pipeline, table: string): Promise<boolean> {
  const client = await line.admin.connect();
  try {
    await client.query("BEGIN");
    return await client.query(`SELECT FROM ${table} FOR UPDATE NOWAIT`).then(
      () => true,
      () => false,
    );
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

/** From now on commits wait for a standby of this name. Returns when they do. */
async function requireStandby(line: Pipeline, name: string): Promise<void> {
  await line.admin.query(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
  await line.admin.query("SELECT pg_reload_conf()");
  if (name === "") return;
  await until("commits wait for the standby", async () => {
    const probe = line.pool.query("SELECT pg_logical_emit_message(true, 'test', '')");
    await Promise.race([probe, until("it waits", async () => (await countWaiters(line)) > 0).catch(() => {})]);
    return (await countWaiters(line)) > 0;
  });
}

async function countWaiters(line: Pipeline): Promise<number> {
  const row = await one<{ count: number }>(
    line.admin,
    "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'",
  );
  return row.count;
}

/** Besides the probe. */
const waiters = (line: Pipeline, count: number) =>
  until(`${count} wait for durable storage`, async () => (await countWaiters(line)) >= count + 1);

function secondAcceptor(line: Pipeline): Acceptor {
  const { acceptDbOf: dbOf } = line.databases;
  return new Acceptor({ ...line.deps, dbOf, batchSize: 10, queueSize: 10, maxWaitMs: 10_000 });
}
