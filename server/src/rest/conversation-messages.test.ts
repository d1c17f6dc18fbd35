import assert from "node:assert/strict";
import { before, test } from "node:test";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { type PeopleHub, startPeopleHub } from "../testing/people-hub.ts";

let hub: PeopleHub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startPeopleHub());
});

async function openConversation(messageCount: number) {
  const { agent, eva, leo, addConversation } = await hub.openWorkspace();
  const conversationId = await addConversation(eva.userId, leo.userId);
  await hub.addMessages(conversationId, leo.userId, messageCount);
  const get = (query: string) => hub.call(eva, "GET", `/v1/conversations/${conversationId}/messages?${query}`);
  async function seqs(query: string): Promise<number[]> {
    const { status, body } = await get(query);
    assert.equal(status, 200, JSON.stringify(body));
    return body.data.map((message: { seq: number }) => message.seq);
  }
  async function walk(query: string): Promise<number[][]> {
    const pages: number[][] = [];
    for (let cursor = ""; ; ) {
      const { body } = await get(`${query}${cursor}`);
      pages.push(body.data.map((message: { seq: number }) => message.seq));
      if (body.next_cursor === null) return pages;
      cursor = `&cursor=${body.next_cursor}`;
    }
  }
  return { agent, conversationId, leo, get, seqs, walk };
}

test("messages are listed newest first, or oldest first after a seq; bounds are exclusive", async () => {
  const { seqs } = await openConversation(7);

  assert.deepEqual(await seqs(""), [7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual(await seqs("limit=2"), [7, 6]);
  assert.deepEqual(await seqs("before_seq=4"), [3, 2, 1]);
  assert.deepEqual(await seqs("before_seq=100&limit=1"), [7]);
  assert.deepEqual(await seqs("after_seq=4"), [5, 6, 7]);
  assert.deepEqual(await seqs("after_seq=0&limit=2"), [1, 2]);
  assert.deepEqual(await seqs("after_seq=2&before_seq=5"), [3, 4]);
  assert.deepEqual(await seqs("after_seq=7"), []);
});

test("an offset skips messages from the start of the page", async () => {
  const { seqs } = await openConversation(7);

  assert.deepEqual(await seqs("offset=2&limit=3"), [5, 4, 3]);
  assert.deepEqual(await seqs("offset=1&before_seq=4"), [2, 1]);
  assert.deepEqual(await seqs("offset=2&after_seq=3"), [6, 7]);
  assert.deepEqual(await seqs("offset=7"), []);
  assert.deepEqual(await seqs(`offset=${Number.MAX_SAFE_INTEGER}`), []);
  assert.deepEqual(await seqs(`offset=${Number.MAX_SAFE_INTEGER}&after_seq=${Number.MAX_SAFE_INTEGER}`), []);
});

test("following the cursor shows every message once, in either direction, with or without the first query", async () => {
  const { walk, get, seqs } = await openConversation(7);

  assert.deepEqual(await walk("limit=3"), [[7, 6, 5], [4, 3, 2], [1]]);
  assert.deepEqual(await walk("limit=3&after_seq=1"), [
    [2, 3, 4],
    [5, 6, 7],
  ]);
  assert.deepEqual(await walk("limit=2&offset=1&before_seq=6"), [
    [4, 3],
    [2, 1],
  ]);
  const { next_cursor } = (await get("limit=3&after_seq=1")).body;
  assert.deepEqual(await seqs(`cursor=${next_cursor}`), [5, 6, 7]);
});

test("new messages do not disturb pagination", async () => {
  const { get, seqs, conversationId, leo } = await openConversation(4);
  const { next_cursor } = (await get("limit=2")).body;

  await hub.addMessages(conversationId, leo.userId, 3);

  assert.deepEqual(await seqs(`cursor=${next_cursor}`), [2, 1]);
});

test("each message is complete", async () => {
  const { get, conversationId, leo } = await openConversation(1);

  const { created_at, message_id, ...rest } = (await get("")).body.data[0];

  assert.ok(created_at && message_id);
  assert.deepEqual(rest, {
    conversation_id: conversationId,
    seq: 1,
    from: leo.userId,
    direction: "outbound",
    payload: { type: "text", text: "oi" },
    file: null,
    channels: null,
    reply_to: null,
    status: "accepted",
    metadata: null,
    route: null,
    deliveries: [],
  });
});

test("rejects an invalid query", async () => {
  const { get } = await openConversation(1);

  for (const query of ["limit=0", "limit=201", "offset=-1", "before_seq=0", "after_seq=-1", "after=1", "cursor=x"]) {
    assert.equal((await get(query)).status, 400, query);
  }
});

test("an empty conversation has no messages", async () => {
  const { get } = await openConversation(0);

  assert.deepEqual((await get("")).body, { data: [], next_cursor: null });
});
