import assert from "node:assert/strict";
import { test } from "node:test";
import { one } from "../../lib/query.ts";
import { addUser } from "../../testing/test-people.ts";
import { startPipeline } from "../../testing/test-pipeline.ts";
import { routeMessages } from "./route-messages.ts";

// In one statement they were one row of the feed, and planning them held the event loop for as long as it took.
test("many messages to a large group are routed in several statements, in order", async () => {
  await using line = await startPipeline({ routes: false, delivers: false });
  const users = await Promise.all(
    Array.from({ length: 50 }, (_, index) => addUser(line.pool, line.workspaceId, `User ${index}`)),
  );
  const chat = await line.addConversation(
    await line.addPerson("ana"),
    ...users.map(({ participantId }) => participantId),
  );
  const said = await Promise.all(Array.from({ length: 100 }, (_, index) => line.say(chat, String(index))));
  const records = said
    .toSorted((a, b) => a.seq - b.seq)
    .map(({ messageId }, index) => {
      return { key: chat, value: { workspaceId: line.workspaceId, messageId }, offset: index, partition: 0 };
    });
  const deps = { ...line.deps, capabilitiesOf: () => line.connector.capabilities };
  await routeMessages(deps, records);

  const routed = await one<{ count: number; messages: number; routed_seq: number; is_ordered: boolean }>(
    line.pool,
    `SELECT count(*), count(DISTINCT message_id) AS messages, (SELECT routed_seq FROM conversations WHERE conversation_id = $1),
       (SELECT bool_and(seq >= before) FROM (
         SELECT seq, lag(seq) OVER (ORDER BY ordinal) AS before FROM deliveries WHERE channel = 'phone') o) AS is_ordered
     FROM deliveries WHERE conversation_id = $1`,
    [chat],
  );
  assert.deepEqual(routed, { count: 5_100, messages: 100, routed_seq: 100, is_ordered: true });
  const { most } = await one<{ most: number }>(line.pool, "SELECT max(event_count) AS most FROM events");
  assert.ok(most <= 1_000, `${most} events in one row`);
});
