import assert from "node:assert/strict";
import { test } from "node:test";
import { feedScopes } from "../../../contract/src/events.ts";
import type { Principal } from "../credentials/credentials.ts";
import { parseCursor, readHead } from "../events/events.ts";
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
test("events outside conversations reach only the API keys whose scopes read them", async () => {
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
  const start = { position: 0, mark: null };
  const read = async (principal: Principal) => (await readEvents(line.pool, principal, start, 50)).data.length;
  assert.deepEqual([await read(key), await read(wider), await read(line.principal)], [0, 1, 1]);
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
