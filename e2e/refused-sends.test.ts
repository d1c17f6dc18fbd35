import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import type { ApiError, NewMessage } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { text } from "./src/workspace.ts";

let hub: TestHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
});

async function countRows(): Promise<Record<string, number>> {
  const { rows } = await hub.db.query(
    `SELECT (SELECT count(*) FROM participants) AS participants, (SELECT count(*) FROM addresses) AS addresses,
       (SELECT count(*) FROM conversations) AS conversations, (SELECT count(*) FROM events) AS events`,
  );
  return rows[0];
}

test("a refused message leaves no contact, conversation or event, alone and in a batch", async () => {
  const known = hub.person("whatsapp");
  const used = await hub.client.messages.send({ to: known.address, payload: text("Hi") });
  await hub.settled();
  const user = await hub.user("agent");
  const bad: [Partial<NewMessage>, string][] = [
    [{ channels: ["telegram"] }, "NO_ROUTE"],
    [{ metadata: { note: "x".repeat(20_000) } }, "VALIDATION_ERROR"],
    [{ payload: text("\ud800") }, "VALIDATION_ERROR"],
    [{ reply_to: used.message_id }, "VALIDATION_ERROR"],
    [{ payload: { type: "reaction", message_id: used.message_id, emoji: "👍" } }, "VALIDATION_ERROR"],
    [{ message_id: used.message_id }, "IDEMPOTENCY_CONFLICT"],
    [{ from: randomUUID() }, "RESOURCE_NOT_FOUND"],
    [{ from: user.user_id, via: { whatsapp: randomUUID() } }, "VALIDATION_ERROR"],
  ];
  const before = await countRows();
  const messages = bad.map(([fields]): NewMessage => {
    return { to: hub.person("whatsapp").address, payload: text("Hi"), ...fields };
  });

  const codes = await Promise.all(
    messages.map((message) =>
      hub.client.messages.send(message).then(
        () => "none",
        (error: ApiError) => error.code,
      ),
    ),
  );
  const results = await hub.client.messages.sendBatch(messages);

  const expected = bad.map(([, code]) => code);
  assert.deepEqual(codes, expected);
  assert.deepEqual(
    results.map(({ error }) => error?.code),
    expected,
  );
  assert.deepEqual(await countRows(), before);
});
