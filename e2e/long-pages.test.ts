/**
 * A page of a list ends at about 1 MiB, even if its items are long: 200 of the longest would be 200 MB and hold the
 * event loop. A client that follows `next_cursor` gets every item once and in order.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { everyPage } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { openLoopMeter } from "./src/loop-delay.ts";

const opened = closeAfterTests();
const meter = opened.use(openLoopMeter());
let hub: TestHub;
let key: string;

before(async () => {
  hub = opened.use(await startTestHub());
  key = (await hub.admin.apiKeys.create({ name: "reads", scopes: ["*"] })).key;
});

const mebibyte = 1024 * 1024;

interface Page {
  items: Record<string, unknown>[];
  /** The longest response. */
  bytes: number;
}

/** All pages of a list. */
async function walk(path: string): Promise<Page[]> {
  const pages: Page[] = [];
  for (let cursor = ""; ; ) {
    const url = `${hub.url}${path}${path.includes("?") ? "&" : "?"}limit=200${cursor}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
    const text = await answer.text();
    assert.equal(answer.status, 200, text.slice(0, 500));
    const { data, next_cursor } = JSON.parse(text);
    pages.push({ items: data, bytes: Buffer.byteLength(text) });
    if (next_cursor === null) return pages;
    cursor = `&cursor=${next_cursor}`;
  }
}

/** As `walk`, with the cursor of events. */
async function walkEvents(after: string): Promise<Page[]> {
  const pages: Page[] = [];
  for (let from = after; ; ) {
    const headers = { authorization: `Bearer ${key}` };
    const text = await (await fetch(`${hub.url}/v1/events?limit=200&after=${from}`, { headers })).text();
    const { data, next_cursor } = JSON.parse(text);
    if (data.length === 0) return pages;
    pages.push({ items: data, bytes: Buffer.byteLength(text) });
    from = next_cursor;
  }
}

/** No page is empty or long; all but the last are full. */
function assertBounded(pages: readonly Page[], longestItem: number) {
  for (const [index, { items, bytes }] of pages.entries()) {
    assert.ok(items.length > 0, `page ${index} is empty`);
    assert.ok(bytes < mebibyte * 1.1 || items.length === 1, `page ${index} of ${items.length} has ${bytes} bytes`);
    const isFull = bytes > mebibyte * 0.8 - longestItem || items.length === 200;
    assert.ok(isFull || index === pages.length - 1, `page ${index} of ${items.length} has only ${bytes} bytes`);
  }
}

/** How long a request for the first page may hold the event loop. */
async function assertQuick(path: string) {
  const url = `${hub.url}${path}${path.includes("?") ? "&" : "?"}limit=200`;
  const request = { url, method: "GET", headers: { authorization: `Bearer ${key}` } };
  const { answer, heldMs, allowedMs } = await meter.measure(request);
  assert.equal(answer.status, 200);
  assert.ok(heldMs <= allowedMs, `${path} held the event loop for ${heldMs.toFixed(1)} ms`);
}

const seqsOf = (pages: readonly Page[]) => pages.flatMap(({ items }) => items.map(({ seq }) => seq as number));
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

async function newGroup(members: (string | { address: string; display_name: string })[] = []) {
  const users = [await hub.user("member"), await hub.user("member"), await hub.user("member")];
  const body = { type: "group" as const, members: [...users.map(({ user_id }) => user_id), ...members] };
  return (await hub.client.conversations.create(body)).conversation_id;
}

async function say(conversation_id: string, payloads: readonly object[], atOnce: number) {
  for (let from = 0; from < payloads.length; from += atOnce) {
    const messages = payloads.slice(from, from + atOnce).map((payload) => ({ conversation_id, payload }));
    for (const { error } of await hub.client.messages.sendBatch(messages as never)) assert.equal(error, undefined);
  }
}

/** The last is the shortest; a quote takes two bytes where it is written. */
const texts = { plain: "a".repeat(65_536), foreign: "語".repeat(21_000), escaped: '\\"\n'.repeat(15_000) };

describe("messages", () => {
  const count = 200;
  for (const [name, text] of Object.entries(texts)) {
    test(`${count} of 64 KiB (${name}) are listed once and in order, in either direction`, async () => {
      const id = await newGroup();
      await say(
        id,
        Array.from({ length: count }, () => ({ type: "text", text })),
        10,
      );
      const path = `/v1/conversations/${id}/messages`;
      const newestFirst = await walk(path);
      assertBounded(newestFirst, 100_000);
      assert.deepEqual(seqsOf(newestFirst), upTo(count).reverse());
      const oldestFirst = await walk(`${path}?after_seq=0`);
      assertBounded(oldestFirst, 100_000);
      assert.deepEqual(seqsOf(oldestFirst), upTo(count));
      const middle = await walk(`${path}?after_seq=50&before_seq=151&offset=10`);
      assert.deepEqual(seqsOf(middle), upTo(150).slice(60));
      const bySdk = await Array.fromAsync(everyPage((page) => hub.client.conversations.messages(id, page)));
      assert.deepEqual(
        bySdk.map(({ seq }) => seq),
        upTo(count).reverse(),
      );
      await assertQuick(path);
    });
  }

  test("an item that is longer than a page fills one page alone", async () => {
    const id = await newGroup();
    const long = { type: "template", name: "t", language: "en", parameters: Array(31).fill("a".repeat(32_768)) };
    for (let sent = 0; sent < 3; sent += 1) await say(id, [long, { type: "text", text: "short" }], 1);
    await hub.settled();
    const pages = await walk(`/v1/conversations/${id}/messages`);
    assert.deepEqual(seqsOf(pages), upTo(6).reverse());
    assert.ok(pages.length >= 3, `${pages.length} pages`);
    await assertQuick(`/v1/conversations/${id}/messages`);
    // The list of conversations shows less of it.
    await say(id, [long], 1);
    const { last_message } = await hub.client.conversations.get(id);
    assert.deepEqual(last_message?.payload, { type: "template", name: "t", language: "en" });
  });

  test("short messages to many recipients count with their deliveries", async () => {
    const telegram = await hub.account("telegram");
    await hub.client.channelAccounts.remove(telegram.channel_account_id);
    const members = upTo(96).map((number) => ({ address: `telegram:${700_000 + number}`, display_name: "Ana" }));
    const id = await newGroup(members);
    const count = 60;
    await say(
      id,
      Array.from({ length: count }, () => ({ type: "text", text: "short" })),
      20,
    );
    await until("all are routed", async () => {
      const { data } = await hub.client.conversations.messages(id, { limit: 1 });
      return data[0]!.seq === count && data[0]!.deliveries.length > 90;
    });
    const pages = await walk(`/v1/conversations/${id}/messages`);
    assertBounded(pages, 200_000);
    assert.ok(pages.length > 2, `${pages.length} pages`);
    assert.deepEqual(seqsOf(pages), upTo(count).reverse());
    await assertQuick(`/v1/conversations/${id}/messages`);
  });
});

describe("events", () => {
  const count = 120;
  let conversationId: string;
  let after: string;

  before(async () => {
    conversationId = await newGroup();
    after = (await hub.events("0")).at(-1)!.cursor;
    await say(
      conversationId,
      Array.from({ length: count }, () => ({ type: "text", text: texts.foreign })),
      10,
    );
    await hub.settled();
  });

  test("of long messages are listed once and in order, a page at a time", async () => {
    const pages = await walkEvents(after);
    for (const { items, bytes } of pages) assert.ok(bytes < mebibyte * 1.1, `${items.length} of ${bytes} bytes`);
    const seqs = seqsOf([
      { items: pages.flatMap(({ items }) => items.filter(({ type }) => type === "NEW_MESSAGE")), bytes: 0 },
    ]);
    assert.deepEqual(seqs, upTo(count));
    assert.ok(pages.length < 20, `${pages.length} pages`);
    await assertQuick(`/v1/events?after=${after}`);
  });

  test("of long messages reach a socket once and in order, wherever it resumes", async () => {
    const cursors = (await walkEvents(after)).flatMap(({ items }) => items.map(({ cursor }) => cursor as string));
    const { access_token } = await hub.logIn("admin");
    // Several sockets share the blocks that the first of them reads.
    const places = [0, 1, 30, 59, 60, 150, 255, 299, cursors.length - 2];
    for (const at of [places, places.toReversed()]) {
      await Promise.all(
        at.map(async (place) => {
          const url = new URL(`/ws?token=${access_token}&cursor=${cursors[place]}`, hub.url.replace("http", "ws"));
          assert.deepEqual(await cursorsUntilLive(String(url)), cursors.slice(place + 1), `after ${place}`);
        }),
      );
    }
  });
});

/** Of the events that a socket is sent until it is live. */
async function cursorsUntilLive(url: string): Promise<string[]> {
  const cursors: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  const socket = new WebSocket(url);
  socket.onclose = ({ code, reason }) => reject(new Error(`the socket was closed: ${code} ${reason}`));
  socket.onmessage = ({ data }) => {
    const { type, cursor } = JSON.parse(data);
    if (type === "LIVE") resolve(cursors);
    else if (!["HELLO", "RESUMING", "RESUMED", "PRESENCE"].includes(type)) cursors.push(cursor);
  };
  return promise.finally(() => {
    socket.onclose = null;
    socket.close();
  });
}

test("contacts with large metadata are listed once, a page at a time, with and without a search", async () => {
  const count = 200;
  const made: string[] = [];
  for (let number = 0; number < count; number += 1) {
    const metadata = { é: "é".repeat(8_000) };
    made.push((await hub.client.contacts.create({ display_name: `Much ${number}`, metadata })).contact_id);
  }
  for (const path of ["/v1/contacts", "/v1/contacts?query=much"]) {
    const pages = await walk(path);
    assertBounded(pages, 20_000);
    const found = pages.flatMap(({ items }) => items.map(({ contact_id }) => contact_id as string));
    assert.deepEqual(
      found.filter((id) => made.includes(id)),
      made.toReversed(),
    );
    await assertQuick(path);
  }
});

test("conversations with many members are listed once, a page at a time, in either order", async () => {
  const people = upTo(97).map((number) => ({
    address: `whatsapp:+55119876${10_000 + number}`,
    display_name: "語".repeat(200),
  }));
  const made: string[] = [await newGroup(people)];
  const after = (await hub.events("0")).at(-1)!.cursor;
  for (let number = 1; number < 40; number += 1) made.push(await newGroup(people));
  for (const sort of ["created", "activity"]) {
    const pages = await walk(`/v1/conversations?sort=${sort}`);
    assertBounded(pages, 100_000);
    assert.ok(pages.length > 2);
    const found = pages.flatMap(({ items }) => items.map(({ conversation_id }) => conversation_id as string));
    assert.equal(new Set(found).size, found.length);
    assert.deepEqual(
      found.filter((id) => made.includes(id)),
      made.toReversed(),
    );
    await assertQuick(`/v1/conversations?sort=${sort}`);
  }
  const events = await walkEvents(after);
  for (const { items, bytes } of events) assert.ok(bytes < mebibyte * 1.1, `${items.length} of ${bytes} bytes`);
  assert.ok(events.length < 8, `${events.length} pages`);
  const shown = events.flatMap(({ items }) => items.map(({ conversation }) => conversation as Record<string, unknown>));
  assert.deepEqual(
    shown.map(({ conversation_id }) => conversation_id),
    made.slice(1),
  );
  await assertQuick(`/v1/events?after=${after}`);
});
