import assert from "node:assert/strict";
import { test } from "node:test";
import { noOrigin, type Principal } from "../identity/principal.ts";
import { run } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
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
  const member: Principal = {
    kind: "user",
    callerId: workspaceId,
    workspaceId,
    role: "member",
    userId: workspaceId,
    participantId: workspaceId,
    sessionId: null,
    scopes: ["*"],
    rateLimit: null,
    origin: noOrigin,
  };
  let statements = 0;
  const counting = {
    query: ((...statement: Parameters<typeof line.pool.query>) => {
      statements += 1;
      return line.pool.query(...statement);
    }) as typeof line.pool.query,
  };
  const page = await readEvents(counting, member, 0, 1);
  assert.deepEqual(page.data, []);
  assert.ok(Number(page.next_cursor) >= 5_000, page.next_cursor);
  assert.ok(statements < 200, `${statements} statements`);

  const agent = { ...member, role: "agent" } as const;
  const seen = await readEvents(line.pool, agent, 0, 1);
  assert.deepEqual([seen.data.length, seen.next_cursor], [1, "1"]);
});
