import assert from "node:assert/strict";
import { test } from "node:test";
import { all, run } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { settle, takeOfConversation } from "./read-marks.ts";

test("many read marks are settled together, except those with a later message", async () => {
  await using line = await startPipeline({ delivers: false });
  const people = ["ana", "bia", "caio"];
  const chat = await line.addConversation(await line.addPerson("ana"));
  await run(
    line.pool,
    `INSERT INTO read_marks (channel_account_id, identifier, workspace_id, conversation_id, channel, provider_message_id,
       written_at, seq, is_pending, due_at, since)
     SELECT $1, identifier, $2, $3, 'phone', identifier || '-1', now(), 1, true, now(), now()
     FROM unnest($4::text[]) AS p (identifier)`,
    [line.accountId, line.workspaceId, chat, people],
  );
  const marks = await takeOfConversation(line.pool, chat);
  assert.equal(marks.length, 3);
  await run(line.pool, "UPDATE read_marks SET provider_message_id = 'bia-2' WHERE identifier = 'bia'");

  await settle(line.pool, marks);

  const left = await all<{ identifier: string }>(line.pool, "SELECT identifier FROM read_marks WHERE is_pending");
  assert.deepEqual(left, [{ identifier: "bia" }]);
});
