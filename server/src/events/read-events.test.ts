import assert from "node:assert/strict";
import { test } from "node:test";
import { feedScopes } from "../../../contract/src/events.ts";
import { parseCursor, readHead } from "../events/events.ts";
import { newId } from "../lib/ids.ts";
import { run } from "../lib/query.ts";
import { openTestClient, openTestFeeds, setMember, testPrincipal } from "../testing/test-feeds.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { readEvents } from "./read-events.ts";

test("a page for a caller who sees no event costs a few dozen statements, however small it is", async () => {
  await using line = await startPipeline({ delivers: false });
  const { workspaceId } = line;
  const event = JSON.stringify(["w", workspaceId, "enabled", "requested"]);
  await run(
    line.pool,
    "SELECT append_events(ARRAY[$1::uuid], ARRAY[1], ARRAY[$2::text]) FROM generate_series(1, 6000)",
    [workspaceId, event],
  );
  const member = testPrincipal(line, "member");
  let statements = 0;
  const counting = {
    query: ((...statement: Parameters<typeof line.pool.query>) => {
      statements += 1;
      return line.pool.query(...statement);
    }) as typeof line.pool.query,
  };
  const page = await readEvents(counting, member, { position: 0, mark: null }, 1);
  assert.deepEqual(page.data, []);
  assert.ok(parseCursor(page.next_cursor).position >= 5_000, page.next_cursor);
  assert.ok(statements < 200, `${statements} statements`);

  const agent = { ...member, role: "agent" } as const;
  const seen = await readEvents(line.pool, agent, { position: 0, mark: null }, 1);
  assert.deepEqual([seen.data.length, parseCursor(seen.next_cursor).position], [1, 1]);
});

// Otherwise a key that reads messages learns which platform refuses which account.
test("events of other things than messages reach only the API keys whose scopes read them", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const key = { ...line.principal, scopes: [...feedScopes] };
  const wider = { ...key, scopes: [...feedScopes, "channel-accounts:read"] } as const;
  const feed = await process.feed();
  const clients = [openTestClient(key), openTestClient(wider), openTestClient(line.principal)];
  for (const { client } of clients) {
    feed.join(client);
    await feed.catchUp(client, feed.head);
  }
  await run(line.pool, "UPDATE channel_accounts SET status = 'needs_attention'", []);
  process.notify();
  await until("the client that sees everything gets the event", () => clients[2]!.frames.length === 1);
  assert.deepEqual(
    clients.map(({ frames }) => frames.map(({ type }) => type)),
    [[], ["CHANNEL_ACCOUNT"], ["CHANNEL_ACCOUNT"]],
  );
  const [chat, file] = [await line.addConversation(await line.addPerson("ana")), newId(Date.now())];
  await run(
    line.pool,
    `WITH f AS (INSERT INTO files (file_id, workspace_id, uploaded_by, filename, bytes, status, part_bytes, created_at)
       VALUES ($1, $2, $2, 'a.png', 1, 'receiving', 5242880, now()))
     INSERT INTO file_conversations (file_id, workspace_id, conversation_id) VALUES ($1, $2, $3)`,
    [file, line.workspaceId, chat],
  );
  await run(line.pool, "UPDATE files SET status = 'completed', completed_at = now(), content_type = 'image/png'", []);
  process.notify();
  await until("the client that sees everything gets the file", () =>
    clients[2]!.frames.some(({ type }) => type === "FILE"),
  );
  assert.deepEqual(
    clients.map(({ frames }) => frames.map(({ type }) => type)),
    [["CONVERSATION"], ["CHANNEL_ACCOUNT", "CONVERSATION"], ["CHANNEL_ACCOUNT", "CONVERSATION", "FILE"]],
  );
  const start = { position: 0, mark: null };
  for (const { client, frames } of clients) {
    const { data } = await readEvents(line.pool, client.principal, start, 50);
    assert.deepEqual(
      data.map(({ type }) => type),
      frames.map(({ type }) => type),
    );
  }
});

test("a member who left a conversation gets that event, and nothing of the conversation after it", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestFeeds(line);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ana, ben);
  const before = await readHead(line.pool, line.workspaceId);
  const feed = await process.feed();
  const [gone, stays] = [ana, ben].map((person) => openTestClient(testPrincipal(line, "member", person)));
  for (const client of [gone!, stays!]) {
    feed.join(client.client);
    await feed.catchUp(client.client, feed.head);
  }
  await setMember(line, chat, ana, false);
  process.notify();
  await until("both clients have the event", () => gone!.frames.length === 1 && stays!.frames.length === 1);
  await run(line.pool, "UPDATE conversations SET title = 'a secret', last_seq = 7 WHERE conversation_id = $1", [chat]);
  await setMember(line, chat, await line.addPerson("carla"), true);

  const late = openTestClient(testPrincipal(line, "member", ana));
  feed.join(late.client);
  assert.equal(await feed.catchUp(late.client, { position: before, mark: null }), 1);
  const { data } = await readEvents(
    line.pool,
    testPrincipal(line, "member", ana),
    { position: before, mark: null },
    50,
  );
  for (const frames of [gone!.frames, late.frames, data]) {
    assert.equal(frames.length, 1);
    const { conversation_id, title, members, last_seq } = frames[0]!.conversation as Record<string, unknown>;
    assert.deepEqual([conversation_id, title, members, last_seq], [chat, null, [], 0]);
  }
  const shown = stays!.frames[0]!.conversation as { members: unknown[] };
  assert.ok(shown.members.length > 0, "a member who stays sees the members");
});
