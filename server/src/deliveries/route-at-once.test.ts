import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { all, one, run } from "../lib/query.ts";
import { startPipeline, testChannel } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { topics } from "../topics.ts";

const outgoing = topics.outgoing(testChannel);

describe("messages are routed when they are accepted", { skip: process.env.FUSE === "off" }, () => {
  test("accepting routes the message and starts its attempt, and puts nothing on the bus", async () => {
    await using line = await startPipeline();
    await line.owned();
    const chat = await line.addConversation(await line.addPerson("ana"));
    const { messageId, seq } = await line.say(chat, "oi");
    await line.settled();
    const { status, attempts, history } = await line.deliveryOf(messageId);
    assert.deepEqual([status, attempts, seq], ["sent", 1, 1]);
    const causes = ["routed", "attempt 1 started", "attempt 1 got a response"];
    assert.deepEqual(
      history.map(({ cause }) => cause),
      causes,
    );
    assert.equal(await line.published(outgoing), 0);
    const { events } = await one<{ events: string }>(
      line.pool,
      `SELECT events FROM events WHERE events LIKE '[["m",%'`,
    );
    assert.deepEqual(
      (JSON.parse(events) as unknown[][]).map(([kind, ...more]) => (kind === "s" ? more[5] : kind)),
      ["m", "in_transit"],
    );
  });

  test("messages of one lane, accepted together and while one is under way, are sent in order", async () => {
    await using line = await startPipeline();
    await line.owned();
    const chat = await line.addConversation(await line.addPerson("ana"));
    const texts = Array.from({ length: 40 }, (_, index) => `${index}`);
    await Promise.all(texts.slice(0, 20).map((text) => line.say(chat, text)));
    for (const text of texts.slice(20)) await line.say(chat, text);
    await line.settled();
    assert.deepEqual(line.texts("ana"), texts);
  });

  test("a message does not overtake one that waits for the step", async () => {
    await using line = await startPipeline({ routes: false });
    await line.owned();
    const chat = await line.addConversation(await line.addPerson("ana"));
    await run(line.pool, "UPDATE conversations SET last_seq = 1 WHERE conversation_id = $1", [chat]);
    const { messageId } = await line.say(chat, "second");
    assert.deepEqual(await line.deliveriesOf(messageId), []);
    assert.equal(await line.bus.lag(topics.messageProcessing, "route"), 1);
  });

  test("a lane that is not this process's, or in which a delivery waits, gets the delivery over the bus", async () => {
    await using line = await startPipeline({ delivers: false });
    const chat = await line.addConversation(await line.addPerson("ana"));
    const { messageId } = await line.say(chat, "oi");
    const [delivery] = await line.deliveriesOf(messageId);
    assert.deepEqual([delivery!.status, delivery!.attempts, await line.published(outgoing)], ["accepted", 0, 1]);
    line.deliver();
    await line.settled();
    assert.deepEqual(line.texts(), ["oi"]);
  });

  test("a consumer that takes over waits for the commits that may start attempts, and then finds their deliveries", async () => {
    await using line = await startPipeline({ delivers: false });
    const client = await line.admin.connect();
    await client.query("BEGIN");
    const fence = "pg_advisory_xact_lock_shared(bus_fence('phone_outgoing', partition))";
    await client.query(`SELECT ${fence} FROM generate_series(0, 3) AS partition`);
    const chat = await line.addConversation(await line.addPerson("ana"));
    await line.say(chat, "oi");
    line.deliver();
    await until("it waits for the fence", async () => {
      const { rows } = await client.query("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
      return rows.length > 0;
    });
    assert.deepEqual(line.texts(), []);
    await client.query("COMMIT");
    client.release();
    await line.settled();
    assert.deepEqual(line.texts(), ["oi"]);
  });

  test("a commit whose response is lost sends its message once", async () => {
    await using line = await startPipeline();
    await line.owned();
    const chat = await line.addConversation(await line.addPerson("ana"));
    const saying = Array.from({ length: 100 }, (_, index) => line.say(chat, `${index}`));
    for (let cut = 0; cut < 5; cut += 1) {
      await line.admin.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chat4all accept' AND datname = current_database()",
      );
    }
    const accepted = await Promise.all(saying);
    await line.settled();
    assert.equal(new Set(line.texts()).size, accepted.length);
    const tries = await all<{ attempts: number; texts: number }>(
      line.pool,
      "SELECT sum(attempts)::int AS attempts, count(*)::int AS texts FROM deliveries",
    );
    assert.ok(tries[0]!.attempts >= line.texts().length, "an attempt was made without a record");
  });
});
