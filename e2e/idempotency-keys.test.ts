/** `Idempotency-Key` on every request that creates something: the list is that of the hub's own OpenAPI document. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { authorizationTable } from "./src/authorization-table.ts";
import type { TestHub } from "./src/harness.ts";
import { readOpenApi } from "./src/openapi.ts";
import { openHome, type Things } from "./src/things.ts";
import { text, type Workspace } from "./src/workspace.ts";

/** POSTs that return 201 or 202, and that are safe to send twice without a key. */
const exempt = [
  "POST /auth/password/forgot",
  "POST /v1/conversations/{id}/read",
  "POST /v1/conversations/{id}/typing",
  // Its body is streamed, and may have 2 GiB.
  "POST /v1/files",
];
/** Creates messages but returns 200, because each item has its own result. */
const alsoCreates = ["POST /v1/messages/batch"];

interface Operation {
  parameters?: { in: string; name: string }[];
  responses: Record<string, unknown>;
}

const opened = closeAfterTests();
let hub: TestHub;
let home: Workspace;
let things: Things;
let operations: [string, Operation][];

before(async () => {
  ({ hub, home, things } = await openHome(opened));
  const document = await readOpenApi<{
    paths: Record<string, Record<string, Operation>>;
  }>(hub.url);
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );
});

test("every request that creates something takes Idempotency-Key", () => {
  const creating = operations.filter(
    ([name, { responses }]) => name.startsWith("POST ") && ("201" in responses || "202" in responses),
  );
  const names = [...creating.map(([name]) => name), ...alsoCreates].filter((name) => !exempt.includes(name));
  const without = names.filter((name) => !takesKey(operations.find(([known]) => known === name)![1]));
  assert.ok(names.length > 15);
  assert.deepEqual(without, []);
});

test("the same key and body get the same response", async (context) => {
  for (const [name, operation] of operations) {
    if (!name.startsWith("POST ") || !takesKey(operation)) continue;
    await context.test(name, async () => {
      const { call, access } = authorizationTable[name]!;
      const { params = {}, body } = (await call!({ workspace: home, things, userId: home.admin.userId })) ?? {};
      const path = name.split(" ")[1]!.replaceAll(/\{(\w+)\}/g, (_all, key: string) => params[key]!);
      const key = randomUUID();
      const first = await post(path, { key, body, isPublic: access === "public" });
      const again = await post(path, { key, body, isPublic: access === "public" });
      assert.ok(first.status < 500, `${first.status}`);
      // Others can lift a 401, 403 or 404: it is not remembered.
      const isRemembered = ![401, 403, 404].includes(first.status);
      assert.deepEqual([again.status, again.code], [first.status, first.code]);
      assert.deepEqual([first.isReplayed, again.isReplayed], [false, isRemembered]);
      if (isRemembered) assert.equal(again.text, first.text);
    });
  }
});

describe("a message sent with Idempotency-Key", () => {
  const count = async (conversationId: string) =>
    (await home.admin.client.conversations.messages(conversationId)).data.length;
  const newBody = async (words: string) => ({ conversation_id: await things.conversation(), payload: text(words) });

  test("is sent once, and another body with the key is refused", async () => {
    const [key, body] = [randomUUID(), await newBody("once")];
    const [first, again] = [await post("/v1/messages", { key, body }), await post("/v1/messages", { key, body })];
    assert.deepEqual([first.status, again.status, again.text], [202, 202, first.text]);
    const other = await post("/v1/messages", { key, body: { ...body, payload: text("other") } });
    assert.deepEqual([other.status, other.code], [409, "IDEMPOTENCY_CONFLICT"]);
    assert.equal(await count(body.conversation_id), 1);
  });

  test("is sent once, even if many requests arrive at the same time", async () => {
    const [key, body] = [randomUUID(), await newBody("parallel")];
    const answers = await Promise.all(Array.from({ length: 20 }, () => post("/v1/messages", { key, body })));
    for (const { status, code, retryAfter } of answers.filter((answer) => answer.status !== 202)) {
      assert.deepEqual([status, code], [409, "CONFLICT"]);
      assert.ok(Number(retryAfter) >= 1);
    }
    assert.ok(answers.some(({ status }) => status === 202));
    assert.equal(await count(body.conversation_id), 1);
  });

  // The process died after the commit of the message, before its response was kept.
  test("is sent once, even if the first response was lost", async () => {
    for (const path of ["/v1/messages", "/v1/messages/batch"]) {
      const [key, one] = [randomUUID(), await newBody("lost")];
      const body = path.endsWith("batch") ? { messages: [one, one] } : one;
      const first = await post(path, { key, body });
      await hub.db.query(
        "UPDATE idempotency_keys SET status_code = NULL, created_at = created_at - interval '61 s' WHERE key = $1",
        [key],
      );
      const again = await post(path, { key, body });
      assert.deepEqual([again.status, again.text], [first.status, first.text]);
      assert.equal(await count(one.conversation_id), path.endsWith("batch") ? 2 : 1);
    }
  });

  test("is sent again as another message when the key is 24 h old", async () => {
    const [key, body] = [randomUUID(), await newBody("daily")];
    await post("/v1/messages", { key, body });
    await hub.db.query("UPDATE idempotency_keys SET created_at = created_at - interval '25 h' WHERE key = $1", [key]);
    const again = await post("/v1/messages", { key, body });
    assert.deepEqual([again.status, again.isReplayed], [202, false]);
    assert.equal(await count(body.conversation_id), 2);
  });
});

function takesKey({ parameters = [] }: Operation): boolean {
  return parameters.some((parameter) => parameter.in === "header" && parameter.name === "idempotency-key");
}

async function post(path: string, { key, body, isPublic }: { key: string; body?: unknown; isPublic?: boolean }) {
  const answer = await fetch(hub.url + path, {
    method: "POST",
    headers: {
      "idempotency-key": key,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(isPublic ? {} : { authorization: `Bearer ${home.admin.token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return {
    status: answer.status,
    text,
    code: answer.ok ? null : JSON.parse(text).error.code,
    isReplayed: answer.headers.get("idempotent-replayed") === "true",
    retryAfter: answer.headers.get("retry-after"),
  };
}
