import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import type { OutboundPart, SendOutcome } from "../../connectors/connector.ts";
import type { FileToSend } from "../../files/files.ts";
import { run } from "../../lib/query.ts";
import { type PipelineOptions, startPipeline } from "../../testing/test-pipeline.ts";
import { until } from "../../testing/until.ts";

const bytes = Buffer.from("a picture");
const ready = {
  kind: "ready",
  filename: "a.png",
  contentType: "image/png",
  bytes: bytes.length,
  open: async () => Readable.from([bytes]),
  link: () => "https://hub.example/f/token",
} as const;

/** A pipeline whose one file is as the test says, and a person; the platform reads what it gets. */
async function open(first: FileToSend | Error, options: PipelineOptions = {}) {
  const state = { file: first, looked: 0 };
  const got: string[] = [];
  const read = async ({ file, payload }: OutboundPart): Promise<SendOutcome> => {
    got.push(
      file === undefined ? `text ${payload.type === "text" && payload.text}` : String(await buffer(await file.open())),
    );
    return { kind: "sent", providerMessageId: `p-${got.length}` };
  };
  const line = await startPipeline({
    platform: read,
    findFile: async () => {
      state.looked += 1;
      if (state.file instanceof Error) throw state.file;
      return state.file;
    },
    ...options,
  });
  const conversationId = await line.addConversation(await line.addPerson("1"));
  // The accepting statement shares it with the conversation.
  const file_id = randomUUID();
  const text = `INSERT INTO files (file_id, workspace_id, uploaded_by, filename, bytes, status, part_bytes, created_at)
    VALUES ($1, $2, $2, 'a.png', 9, 'completed', 5242880, now())`;
  await run(line.admin, text, [file_id, line.workspaceId]);
  const say = async (text: string) => (await line.say(conversationId, text)).messageId;
  const sendFile = async () => (await line.say(conversationId, "", { payload: { type: "file", file_id } })).messageId;
  return { line, state, got, say, sendFile, [Symbol.asyncDispose]: () => line[Symbol.asyncDispose]() };
}

type Pipeline = Awaited<ReturnType<typeof open>>;

const waiting = ({ line }: Pipeline, messageId: string) =>
  until("the delivery waits for its file", async () => {
    const delivery = await line.deliveryOf(messageId).catch(() => null);
    return delivery?.error?.code === "FILE_PENDING" && delivery;
  });

test("a message waits for its file without counting attempts, and those behind it wait, too", async () => {
  await using hub = await open({ kind: "pending", waitMs: 20 });
  const messageId = await hub.sendFile();
  const behind = await hub.say("behind");
  await waiting(hub, messageId);
  await until("it was looked for again", () => hub.state.looked > 2);
  const delivery = await hub.line.deliveryOf(messageId);
  assert.ok(delivery.attempts <= 1, "one that is being made at most");
  assert.deepEqual(hub.got, []);
  hub.state.file = ready;
  await hub.line.settled();
  assert.deepEqual(hub.got, [String(bytes), "text behind"]);
  const sent = await hub.line.deliveryOf(messageId);
  assert.deepEqual([sent.status, sent.attempts, sent.error], ["sent", 1, null]);
  assert.equal((await hub.line.deliveryOf(behind)).status, "sent");
});

test("while the database or the store cannot be read, a message with a file waits, and the platform is not blamed", async () => {
  const broken = { ...ready, open: () => Promise.reject(new Error("the store is away")) };
  for (const first of [new Error("the database is away"), broken]) {
    await using hub = await open(first);
    const messageId = await hub.sendFile();
    const delivery = await waiting(hub, messageId);
    assert.equal(delivery.attempts, 0);
    const health = [...hub.line.deliverers][0]!.health(hub.line.accountId);
    assert.equal(health?.breaker, "closed", JSON.stringify(health));
    hub.state.file = ready;
    await hub.line.settled();
    assert.deepEqual(hub.got, [String(bytes)]);
  }
});

test("a file that the platform refuses is sent as a link in the same attempt", async () => {
  const texts: string[] = [];
  await using hub = await open(ready, {
    platform: ({ file, payload }) => {
      if (file !== undefined) return { kind: "refused", reason: "PAYLOAD_INVALID", detail: "no", isOfFile: true };
      texts.push(payload.type === "text" ? payload.text : payload.type);
      return { kind: "sent", providerMessageId: "p-link" };
    },
  });
  const messageId = await hub.sendFile();
  await hub.line.settled();
  assert.deepEqual(texts, [`a.png (9 bytes)\n${ready.link()}`]);
  assert.partialDeepStrictEqual(await hub.line.deliveryOf(messageId), {
    status: "sent",
    attempts: 1,
    provider_message_ids: ["p-link"],
  });
});

test("a file that was deleted fails its message alone", async () => {
  await using hub = await open({ kind: "gone" });
  const messageId = await hub.sendFile();
  await hub.say("after it");
  await hub.line.settled();
  assert.partialDeepStrictEqual(await hub.line.deliveryOf(messageId), {
    status: "failed",
    error: { code: "FILE_GONE" },
  });
  assert.deepEqual(hub.got, ["text after it"]);
});
