import assert from "node:assert/strict";
import { test } from "node:test";
import { noOrigin, type Principal } from "../credentials/credentials.ts";
import { newId } from "../lib/ids.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { makePastPartitions, watchPartitions } from "../testing/watch-partitions.ts";
import { readHistory } from "./history.ts";
import { readMessage, showMessages } from "./show.ts";
import { readAuditTrail, readTrace } from "./trace.ts";

test("a message is shown from its own partitions; a page of history searches the others for ids only", async () => {
  await using line = await startPipeline();
  await makePastPartitions(line.admin);
  const month = new Date().toISOString().slice(0, 7).replace("-", "");
  const [messages, deliveries] = [`messages_from_${month}01`, `deliveries_from_${month}01`];
  const chat = await line.addConversation(await line.addPerson("ana"));
  for (const text of ["one", "two", "three"]) await line.say(chat, text);
  await line.settled();
  const principal = {
    ...{ kind: "api_key", callerId: newId(Date.now()), workspaceId: line.workspaceId, role: "admin" },
    ...{ userId: newId(Date.now()), participantId: line.workspaceId, scopes: ["*"], origin: noOrigin },
  } as unknown as Principal;
  const role = ["role=chat4all_api", `chat4all.workspace_id=${line.workspaceId}`];
  await using watched = watchPartitions(line.url, role);
  const { db } = watched;

  const { rows } = await readHistory(db, principal, chat, { limit: 2, offset: 0 });
  assert.deepEqual(
    rows.map(({ seq }) => seq),
    [3, 2],
  );
  assert.deepEqual(
    watched.partitionsRead().filter((name) => name.startsWith("deliveries")),
    [deliveries],
    "readHistory",
  );
  const shown = await showMessages(db, principal, rows);
  assert.deepEqual(
    shown.map((message) => message.deliveries.length),
    [1, 1],
  );
  assert.deepEqual(watched.partitionsRead(), [deliveries], "showMessages");
  const { message_id: messageId } = rows[0]!;
  await readMessage(db, principal, messageId as never);
  assert.deepEqual(watched.partitionsRead(), [deliveries, messages], "readMessage");
  await readAuditTrail(db, principal, messageId as never, { limit: 10 });
  assert.deepEqual(watched.partitionsRead(), [deliveries, messages], "readAuditTrail");
  const trace = await readTrace(db, principal, messageId as never, { limit: 10 });
  assert.ok(trace.data.some(({ what }) => what === "attempt"));
  const read = watched.partitionsRead().filter((name) => /^(messages|deliveries)/.test(name));
  assert.deepEqual(read, [deliveries, messages], "readTrace");
});
