import assert from "node:assert/strict";
import { test } from "node:test";
import { systemOf } from "../../audit/audit.ts";
import { listDeadLetters, replayDeadLetter } from "../../dead-letters/dead-letters.ts";
import { one, run } from "../../lib/query.ts";
import { type Pipeline, startPipeline } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";

/** Makes every statement that writes deliveries of this conversation fail, until the returned function is called. */
async function failWriting(line: Pipeline, conversationId: string, sqlState: string) {
  // A row, because removing the trigger could deadlock with the statements that it stops.
  await run(line.admin, "CREATE TABLE failing AS SELECT $1::uuid AS conversation_id", [conversationId]);
  await run(
    line.admin,
    `CREATE FUNCTION fail_on_purpose() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
     BEGIN
       IF NEW.channel <> 'none' AND (SELECT true FROM failing WHERE conversation_id = NEW.conversation_id) THEN
         RAISE EXCEPTION 'on purpose' USING ERRCODE = '${sqlState}';
       END IF;
       RETURN NEW;
     END $$`,
  );
  await run(
    line.admin,
    "CREATE TRIGGER fail_on_purpose BEFORE INSERT ON deliveries FOR EACH ROW EXECUTE FUNCTION fail_on_purpose()",
  );
  return () => run(line.admin, "DELETE FROM failing");
}

const seconds = (count: number) => {
  const until = performance.now() + count * 1_000;
  return () => performance.now() >= until;
};

// Once a disk that was full for four seconds lost accepted messages: they were never routed.
test("a temporary database error loses no message, and the conversation keeps its order", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const repair = await failWriting(line, chat, "53100");
  for (const text of ["1", "2", "3"]) await line.say(chat, text);
  await until("four seconds pass", seconds(4));
  assert.deepEqual(line.texts(), []);
  await repair();
  await line.say(chat, "4");
  await line.settled();
  assert.deepEqual(line.texts("ana"), ["1", "2", "3", "4"]);
});

// Once such a message ended in a table that nothing read.
test("a message that cannot be routed fails and becomes a dead letter, and a replay routes it again", async () => {
  await using line = await startPipeline();
  const chat = await line.addConversation(await line.addPerson("ana"));
  const other = await line.addConversation(await line.addPerson("bia"));
  const repair = await failWriting(line, chat, "22003");
  const { messageId } = await line.say(chat, "1");
  await line.say(other, "meanwhile");
  const look = () => listDeadLetters(line.pool, { workspaceId: line.workspaceId, limit: 50 });
  await until("the record is a dead letter", async () => (await look()).length > 0);
  await line.settled();
  assert.deepEqual(line.texts(), ["meanwhile"]);
  const [letter] = await look();
  assert.ok(letter?.kind === "message");
  assert.deepEqual([letter.message_id, letter.status, letter.error?.code], [messageId, "failed", "ROUTING_FAILED"]);
  await repair();
  await replayDeadLetter(line.deps, systemOf(line.workspaceId), letter.delivery_id);
  await line.settled();
  assert.deepEqual(line.texts(), ["meanwhile", "1"]);
  assert.deepEqual(await look(), []);
  await assert.rejects(replayDeadLetter(line.deps, systemOf(line.workspaceId), letter.delivery_id), {
    code: "RESOURCE_NOT_FOUND",
  });
  const row = await one<{ count: number }>(line.pool, "SELECT count(*) AS count FROM deliveries WHERE is_dead_letter");
  assert.equal(row.count, 0);
});
