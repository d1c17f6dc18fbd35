/** A read from a cursor has no hole, or begins with a gap; pages and sockets follow the same rule. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deleteOldEvents, parseCursor, readEvents, readHead } from "../events/events.ts";
import { run } from "../lib/query.ts";
import { appendEvents, openTestClient, openTestFeeds, testPrincipal } from "../testing/test-feeds.ts";
import { type Pipeline, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";

/** The first event of a page after this cursor, and the first frame for a client that resumes from it. */
async function readFrom(line: Pipeline, process: ReturnType<typeof openTestFeeds>, cursor: string) {
  const principal = testPrincipal(line, "agent");
  const { data, next_cursor } = await readEvents(line.pool, principal, parseCursor(cursor), 200);
  const feed = await process.feed();
  const client = openTestClient(principal);
  feed.join(client.client);
  await feed.catchUp(client.client, parseCursor(cursor));
  feed.leave(client.client);
  assert.deepEqual(
    client.frames.map((frame) => [frame.type, frame.cursor, frame.reason]),
    data.map((frame) => [frame.type, frame.cursor, frame.reason]),
    "pages and sockets say the same",
  );
  return { first: data[0] && { type: data[0].type, reason: data[0].reason }, count: data.length, next: next_cursor };
}

/** Leaves the feed as a restored backup does that was made at this position. */
async function restoreTo(line: Pipeline, position: number): Promise<void> {
  await run(line.admin, "DELETE FROM events WHERE workspace_id = $1 AND last_position > $2", [
    line.workspaceId,
    position,
  ]);
  await run(
    line.admin,
    `UPDATE event_heads h SET last_position = e.last_position, last_event_at = e.created_at
     FROM events e WHERE e.workspace_id = $1 AND e.last_position = $2 AND h.workspace_id = $1`,
    [line.workspaceId, position],
  );
}

const gap = (reason: string) => ({ type: "GAP", reason });

test("after a restore the cursor of a lost event is a gap, even if the feed has grown past it", async () => {
  await using line = await startPipeline({ delivers: false });
  const chat = await line.addConversation(await line.addPerson("ana"));
  await appendEvents(line, chat, 10);
  const backup = await readHead(line.pool, line.workspaceId);
  const principal = testPrincipal(line, "agent");
  const kept = (await readEvents(line.pool, principal, null, 5)).next_cursor;
  const atBackup = (await readEvents(line.pool, principal, parseCursor(kept), 200)).next_cursor;
  await appendEvents(line, chat, 4);
  await appendEvents(line, chat, 4);
  const lost = (await readEvents(line.pool, principal, { position: backup, mark: null }, 200)).data.map(
    ({ cursor }) => cursor,
  );
  await restoreTo(line, backup);
  // Shorter than the cursors, as long as the longest of them, and longer.
  for (const more of [3, 5, 10]) {
    await appendEvents(line, chat, more);
    await using process = openTestFeeds(line);
    for (const cursor of lost) assert.deepEqual((await readFrom(line, process, cursor)).first, gap("unknown"), cursor);
    const head = await readHead(line.pool, line.workspaceId);
    assert.equal((await readFrom(line, process, atBackup)).count, head - backup);
    assert.equal((await readFrom(line, process, kept)).count, head - parseCursor(kept).position);
  }
  const old = await readEvents(line.pool, principal, { position: backup + 1, mark: null }, 1);
  assert.notEqual(old.data[0]!.type, "GAP", "a cursor of an older version, without a mark, is taken as it is");
});

test("a process that runs through a restore sends a gap to its live clients", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  await appendEvents(line, chat, 5);
  const backup = await readHead(line.pool, line.workspaceId);
  const feed = await process.feed();
  const [live, held] = [0, 1].map(() => openTestClient(testPrincipal(line, "agent")));
  for (const { client } of [live!, held!]) feed.join(client);
  await feed.catchUp(live!.client, feed.head);
  await appendEvents(line, chat, 5);
  process.notify();
  await until("the event is sent", () => live!.frames.length === 5);
  const before = live!.frames.at(-1)!.cursor;
  await restoreTo(line, backup);
  await appendEvents(line, chat, 5);
  process.notify();
  await until("the client gets a gap", () => live!.frames.at(-1)!.type === "GAP");
  assert.equal(live!.frames.at(-1)!.reason, "unknown");
  assert.equal(held!.closing(), "broken");
  assert.deepEqual((await readFrom(line, process, before)).first, gap("unknown"));
});

test("a deleted event is a gap, even if a process still has it cached", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const chat = await line.addConversation(await line.addPerson("ana"));
  const principal = testPrincipal(line, "agent");
  for (let batch = 0; batch < 3; batch += 1) await appendEvents(line, chat, 5);
  const first = (await readEvents(line.pool, principal, null, 1)).next_cursor;
  const { count, next: newest } = await readFrom(line, process, first);
  assert.equal(count, (await readHead(line.pool, line.workspaceId)) - 1);
  await deleteOldEvents(line.pool, new Date(Date.now() + 1_000), 0);
  assert.deepEqual((await readFrom(line, process, first)).first, gap("expired"));
  // The newest event itself was deleted, but nothing has happened since.
  assert.equal((await readFrom(line, process, newest)).count, 0);
  await appendEvents(line, chat, 1);
  process.notify();
  const feed = await process.feed();
  const head = await readHead(line.pool, line.workspaceId);
  await until("the feed is at the newest event", () => feed.head.position === head);
  assert.deepEqual((await readFrom(line, process, newest)).first, gap("expired"));
});
