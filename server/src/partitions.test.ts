import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "./lib/clock.ts";
import { derivedId, newId } from "./lib/ids.ts";
import { migrate, migrationsFolder } from "./lib/migrations.ts";
import { makePartitions } from "./lib/partitions.ts";
import { type Log, openPool, type Pool } from "./lib/postgres.ts";
import { all, one, run } from "./lib/query.ts";
import { dropOldPartitions, makeMissingPartitions } from "./partitions.ts";
import { createTestDatabase } from "./testing/test-database.ts";
import { type Pipeline, startPipeline } from "./testing/test-pipeline.ts";
import { dropEmptyPartitions } from "./testing/watch-partitions.ts";
import { topics } from "./topics.ts";

const dayMs = 86_400_000;
const log: Log = { info() {}, warn() {}, error() {} };
const monthly = 90 * dayMs;

test("messages are accepted, sent and receipted while partitions are made and dropped; old ones go with all they left", async () => {
  const place = shiftedClock();
  await using line = await startPipeline({ clock: place.clock });
  const deps = { db: line.pool, clock: systemClock, log, messageRetentionMs: monthly };
  const now = Date.now();
  await dropEmptyPartitions(line.admin);
  for (const days of [200, 160, 120]) await makeMissingPartitions(deps, new Date(now - days * dayMs));
  const chats = await Promise.all(
    ["ana", "bia", "caio", "duda"].map(async (name) => line.addConversation(await line.addPerson(name))),
  );

  place.aheadMs = -190 * dayMs;
  const old = await Promise.all(chats.map((chat) => line.say(chat, "old", place.withId())));
  await line.settled();
  const received = (id: string, ms: number) =>
    run(
      line.pool,
      "INSERT INTO provider_messages (channel_account_id, provider_message_id, message_id) VALUES ($1, $2, $3)",
      [line.accountId, id, derivedId(ms, id)],
    );
  await received("received long ago", place.clock.now());
  place.aheadMs = 0;
  await received("received today", now);
  await line.owned();
  const before = await line.published(topics.messageProcessing);
  const young: string[] = [];
  let isOver = false;
  const change = async () => {
    for (let days = -110; days <= 400; days += 30) await makeMissingPartitions(deps, new Date(now + days * dayMs));
    await dropOldPartitions(deps, now);
    isOver = true;
  };
  const send = async () => {
    for (let round = 0; round < 40 || !isOver; round += 1) {
      const said = await Promise.all(chats.map((chat) => line.say(chat, `${round}`)));
      const messageIds = said.map(({ messageId }) => messageId);
      young.push(...messageIds);
      await line.settled();
      await line.receipts(await receiptsOf(line, messageIds));
    }
  };
  await Promise.all([change(), send()]);

  const published = (await line.published(topics.messageProcessing)) - before;
  if (process.env.FUSE !== "off")
    assert.ok(published < young.length / 2, `${published} of ${young.length} were routed later`);
  const missing = await all(
    line.admin,
    `SELECT m.message_id, d.status, count(a.*) AS attempts FROM unnest($1::uuid[]) AS m (message_id)
     LEFT JOIN deliveries d USING (message_id) LEFT JOIN LATERAL attempts_of(d) a ON true
     GROUP BY m.message_id, d.status HAVING d.status IS DISTINCT FROM 'read' OR count(a.*) <> 1`,
    [young],
  );
  assert.deepEqual(missing, []);
  const places = await all<{ name: string }>(
    line.admin,
    "SELECT DISTINCT tableoid::regclass::text AS name FROM messages",
  );
  assert.equal(places.length, 1, "the messages of today are in one partition");
  for (const table of ["messages", "deliveries", "provider_messages"]) {
    const { count } = await one<{ count: number }>(
      line.admin,
      `SELECT count(*) FROM ${table} WHERE message_id = ANY ($1)`,
      [old.map(({ messageId }) => messageId)],
    );
    assert.equal(count, 0, table);
  }
  const named = "SELECT provider_message_id AS id FROM provider_messages WHERE delivery_id IS NULL";
  assert.deepEqual(await all(line.admin, named), [{ id: "received today" }]);
});

test("the messages of a month stay while a delivery of it is pending", async () => {
  const place = shiftedClock();
  await using line = await startPipeline({ clock: place.clock, delivers: false });
  const warnings: object[] = [];
  const quiet: Log = { ...log, warn: (fields) => void warnings.push(fields) };
  const deps = { db: line.pool, clock: systemClock, log: quiet, messageRetentionMs: monthly };
  const now = Date.UTC(2026, 5, 20);
  await dropEmptyPartitions(line.admin);
  for (const month of [0, 1, 2]) await makeMissingPartitions(deps, new Date(Date.UTC(2026, month, 10)));
  const chat = await line.addConversation(await line.addPerson("ana"));
  place.aheadMs = Date.UTC(2026, 0, 10) - Date.now();
  const { messageId } = await line.say(chat, "wait", place.withId());
  const ownId = await line.say(chat, "an id of the client", { message_id: "3a7e9a3e-7f0b-4c3f-9d57-0a1b2c3d4e5f" });
  await line.routed();
  await dropOldPartitions(deps, now);
  const count = async () => (await one<{ count: number }>(line.admin, "SELECT count(*) FROM messages")).count;
  assert.equal(await count(), 2);
  assert.deepEqual(warnings, [{ partition: "messages_from_20260101" }, { partition: "deliveries_from_20260101" }]);

  line.deliver();
  await line.settled();
  assert.deepEqual(line.texts(), ["wait", "an id of the client"]);
  await dropOldPartitions(deps, now);
  assert.equal(await count(), 0);
  assert.ok(messageId !== ownId.messageId);
});

test("a message that was dropped is a new one when its id is sent again", async () => {
  const place = shiftedClock();
  await using line = await startPipeline({ clock: place.clock });
  const deps = { db: line.pool, clock: systemClock, log, messageRetentionMs: monthly };
  await dropEmptyPartitions(line.admin);
  const start = Date.UTC(2026, 0, 10);
  await makeMissingPartitions(deps, new Date(start));
  place.aheadMs = start - Date.now();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const message_id = derivedId(start, "once");
  await line.say(chat, "once", { message_id });
  await line.say(chat, "once", { message_id });
  await line.settled();
  assert.deepEqual(line.texts(), ["once"]);
  await dropOldPartitions(deps, start + 200 * dayMs);
  await line.say(chat, "once", { message_id });
  await line.settled();
  assert.deepEqual(line.texts(), ["once", "once"]);
});

test("an upgrade turns the rows of a table into its first partition, with all that belongs to the table", async () => {
  const before = mkdtempSync(join(tmpdir(), "chat4all-before-"));
  try {
    const files = readdirSync(migrationsFolder).sort();
    const cut = files.findIndex((file) => file.includes("partitions-by-time"));
    for (const file of files.slice(0, cut)) cpSync(join(migrationsFolder, file), join(before, file));
    await using database = await createTestDatabase({ migrationsFolder: before });
    await using stack = new AsyncDisposableStack();
    const db = stack.adopt(openPool({ url: database.url, size: 1, applicationName: "test", log }), (pool) =>
      pool.end(),
    );
    const [workspaceId, conversationId, now] = [newId(Date.now()), newId(Date.now()), Date.now()];
    const ids = [newId(now), newId(now), crypto.randomUUID(), derivedId(now + 70 * dayMs, "of the future")];
    await run(
      db,
      `INSERT INTO messages (message_id, workspace_id, conversation_id, seq, sender_id, direction, payload, created_at)
       SELECT id, $2, $3, place, $2, 'outbound', '{"type": "text", "text": "oi"}', now()
       FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, place)`,
      [ids, workspaceId, conversationId],
    );
    const deliver = (deliveryId: string) =>
      one<{ ordinal: number }>(
        db,
        `INSERT INTO deliveries (delivery_id, workspace_id, message_id, conversation_id, seq, recipient_id, channel, status,
           is_pending, route, history, created_at)
         VALUES ($1, $2, $3, $4, 1, $2, 'phone', 'accepted', true, 'only', '[]', now()) RETURNING ordinal`,
        [deliveryId, workspaceId, ids[0], conversationId],
      );
    const first = await deliver(derivedId(now, "first"));
    const facts = await describe(db);
    cpSync(join(migrationsFolder, files[cut]!), join(before, files[cut]!));
    await migrate(db, { log, folder: before });
    await makeMissingPartitions({ db, clock: systemClock, messageRetentionMs: monthly }, new Date(now));

    const places = await all<{ name: string }>(
      db,
      "SELECT tableoid::regclass::text AS name FROM messages ORDER BY seq",
    );
    assert.deepEqual(
      places.map(({ name }) => name),
      [...["messages_first", "messages_first", "messages_others", "messages_others"]],
    );
    assert.deepEqual(await describe(db), facts);
    await migrate(db, { log });
    const second = await deliver(derivedId(now, "second"));
    assert.ok(second.ordinal > first.ordinal, "the order of deliveries continues");
    await assert.rejects(deliver(derivedId(now, "first")), /duplicate key/);
    await run(db, "UPDATE deliveries SET ordinal = DEFAULT, is_pending = false");
    await makePartitions(
      { db, clock: systemClock },
      [{ name: "messages", period: "month" }],
      new Date(now + 70 * dayMs),
    );
    const moved = await one<{ name: string }>(
      db,
      "SELECT tableoid::regclass::text AS name FROM messages WHERE message_id = $1",
      [ids[3]],
    );
    assert.match(moved.name, /^messages_from_/);
    await dropOldPartitions({ db, clock: systemClock, log, messageRetentionMs: monthly }, now + 200 * dayMs);
    assert.deepEqual(await all(db, "SELECT FROM messages UNION ALL SELECT FROM deliveries"), []);
  } finally {
    rmSync(before, { recursive: true });
  }
});

/** What requests and the pipeline depend on: columns, keys, policies, privileges and triggers. */
function describe(db: Pool) {
  return all(
    db,
    `SELECT c.relname, (
         SELECT json_agg(json_build_array(attname, atttypid::regtype, attnotnull, attidentity, attstorage, attacl) ORDER BY attname)
         FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
       (SELECT json_agg(pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p') AS keys,
       (SELECT json_agg(tgname ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers,
       (SELECT json_agg(p ORDER BY policyname) FROM pg_policies p WHERE tablename = c.relname) AS policies,
       (SELECT json_agg(json_build_array(grantee::regrole, privilege_type) ORDER BY grantee::regrole::text, privilege_type)
        FROM aclexplode(c.relacl)) AS privileges
     FROM pg_class c
     WHERE c.relname IN ('messages', 'deliveries', 'attempts', 'webhooks', 'provider_messages', 'webhook_deliveries')
     ORDER BY c.relname`,
  );
}

function shiftedClock() {
  const place = {
    aheadMs: 0,
    clock: { ...systemClock, now: () => Date.now() + place.aheadMs },
    /** The ids that a process makes never go back in time. */
    withId: () => ({ message_id: derivedId(place.clock.now(), crypto.randomUUID()) }),
  };
  return place;
}

async function receiptsOf(line: Pipeline, messageIds: readonly string[]) {
  const rows = await all<{ delivery_id: string; id: string }>(
    line.admin,
    "SELECT delivery_id, provider_message_ids[1] AS id FROM deliveries WHERE message_id = ANY ($1)",
    [messageIds],
  );
  return rows.map(({ delivery_id: deliveryId, id: providerMessageId }) => ({
    channelAccountId: line.accountId,
    providerMessageId,
    deliveryId,
    status: "read" as const,
    error: null,
    at: new Date(),
    webhookId: null,
  }));
}
