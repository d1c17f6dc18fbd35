import assert from "node:assert/strict";
import { test } from "node:test";
import { feedScopes } from "../../../contract/src/events.ts";
import type { Principal } from "../credentials/credentials.ts";
import { parseCursor, readHead } from "../events/events.ts";
import { run } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { openTestReader, openTestRooms, setMember, testPrincipal } from "../testing/test-rooms.ts";
import { until } from "../testing/until.ts";
import { readEvents } from "./read-events.ts";

test("however small the page, whoever sees nothing costs a few dozen statements", async () => {
  await using line = await startPipeline({ delivers: false });
  const { workspaceId } = line;
  const told = JSON.stringify(["w", workspaceId, "enabled", "requested"]);
  await run(
    line.pool,
    "SELECT append_events(ARRAY[$1::uuid], ARRAY[1], ARRAY[$2::text]) FROM generate_series(1, 6000)",
    [workspaceId, told],
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
  await using process = openTestRooms(line);
  const key = { ...line.principal, scopes: [...feedScopes] };
  const wider = { ...key, scopes: [...feedScopes, "channel-accounts:read"] } as const;
  const room = await process.room();
  const readers = [openTestReader(key), openTestReader(wider), openTestReader(line.principal)];
  for (const { subscriber } of readers) {
    room.join(subscriber);
    await room.catchUp(subscriber, room.position());
  }
  await run(line.pool, "UPDATE channel_accounts SET status = 'needs_attention'", []);
  process.tell();
  await until("who sees everything is told", () => readers[2]!.told.length === 1);
  assert.deepEqual(
    readers.map(({ told }) => told.map(({ type }) => type)),
    [[], ["CHANNEL_ACCOUNT"], ["CHANNEL_ACCOUNT"]],
  );
  const start = { position: 0, mark: null };
  const read = async (principal: Principal) => (await readEvents(line.pool, principal, start, 50)).data.length;
  assert.deepEqual([await read(key), await read(wider), await read(line.principal)], [0, 1, 1]);
});

test("who has left is told so, and nothing of what has become of the conversation since", async () => {
  await using line = await startPipeline({ delivers: false });
  await using process = openTestRooms(line);
  const [ana, ben] = [await line.addPerson("ana"), await line.addPerson("ben")];
  const chat = await line.addConversation(ana, ben);
  const before = await readHead(line.pool, line.workspaceId);
  const room = await process.room();
  const [gone, stays] = [ana, ben].map((person) => openTestReader(testPrincipal(line, "member", person)));
  for (const reader of [gone!, stays!]) {
    room.join(reader.subscriber);
    await room.catchUp(reader.subscriber, room.position());
  }
  await setMember(line, chat, ana, false);
  process.tell();
  await until("both readers have the event", () => gone!.told.length === 1 && stays!.told.length === 1);
  await run(line.pool, "UPDATE conversations SET title = 'a secret', last_seq = 7 WHERE conversation_id = $1", [chat]);
  await setMember(line, chat, await line.addPerson("carla"), true);

  const late = openTestReader(testPrincipal(line, "member", ana));
  room.join(late.subscriber);
  assert.equal(await room.catchUp(late.subscriber, before), 1);
  const { data } = await readEvents(
    line.pool,
    testPrincipal(line, "member", ana),
    { position: before, mark: null },
    50,
  );
  for (const told of [gone!.told, late.told, data]) {
    assert.equal(told.length, 1);
    const { conversation_id, title, members, last_seq } = told[0]!.conversation as Record<string, unknown>;
    assert.deepEqual([conversation_id, title, members, last_seq], [chat, null, [], 0]);
  }
  const shown = stays!.told[0]!.conversation as { members: unknown[] };
  assert.ok(shown.members.length > 0, "who stays is told who is there");
});
