import assert from "node:assert/strict";
import { test } from "node:test";
import { firstIdAt } from "../lib/ids.ts";
import { one } from "../lib/query.ts";
import { startPipeline } from "../testing/test-pipeline.ts";
import { deleteOldProviderMessages } from "./deliveries.ts";

const dayMs = 86_400_000;

test("the ids at platforms of what is gone are deleted in a day, a part of the table at a time", async () => {
  await using line = await startPipeline();
  const now = Date.now();
  const [before, old] = [new Date(now - 30 * dayMs), firstIdAt(now - 31 * dayMs)];
  const rows = 120_000;
  await line.admin.query(
    `INSERT INTO provider_messages (channel_account_id, provider_message_id, message_id)
     SELECT $1, repeat('x', 40) || n, CASE WHEN n % 10 = 0 THEN $3::uuid ELSE $2::uuid END FROM generate_series(1, $4::int) n`,
    [line.accountId, old, firstIdAt(now), rows],
  );
  const count = async () =>
    (await one<{ count: number }>(line.admin, "SELECT count(*)::int AS count FROM provider_messages")).count;
  const times = Array.from({ length: 144 }, (_, index) => now + index * 10 * 60_000);
  await deleteOldProviderMessages(line.pool, before, times[0]!);
  const first = rows - (await count());
  assert.ok(first > 0 && first < rows / 50, `${first} rows were deleted at once`);
  for (const time of times) await deleteOldProviderMessages(line.pool, before, time);
  assert.equal(await count(), rows / 10, "the new ones stay");
});
