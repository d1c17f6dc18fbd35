import assert from "node:assert/strict";
import { test } from "node:test";
import { transaction } from "../server/src/lib/postgres.ts";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

/** A hub whose accounts on the two channels are in different partitions of the topic `inbound`. */
async function startApart(): Promise<TestHub> {
  for (;;) {
    const hub = await startTestHub();
    const ids = await Promise.all(
      ["whatsapp", "telegram"].map(async (channel) => (await hub.account(channel)).channel_account_id),
    );
    if (new Set(ids.map((id) => hub.hub.context.bus.partitionOf(id))).size === 2) return hub;
    await hub[Symbol.asyncDispose]();
  }
}

// Once a batch waited for its slowest account, and all accounts for the batch: 300 messages of one stranger held up
// another channel for 8 s.
test("messages of one account arrive while those of another are held up", async () => {
  await using hub = await startApart();
  const ana = hub.person("whatsapp", "Ana");
  const ben = hub.person("telegram", "Ben");
  await Promise.all([ana.writes("oi"), ben.writes("oi")]);
  await hub.settled();
  const hasReceived = async (words: string) => {
    const { rows } = await hub.db.query("SELECT FROM messages WHERE payload ->> 'text' = $1", [words]);
    return rows.length === 1;
  };
  const release = Promise.withResolvers<void>();
  const isHeld = Promise.withResolvers<void>();
  // Locks rows that receiving a message on WhatsApp needs.
  const holding = transaction(hub.db, async (tx) => {
    const { rowCount } = await tx.query("SELECT FROM addresses WHERE channel = 'whatsapp' FOR UPDATE");
    assert.ok(rowCount! > 0);
    isHeld.resolve();
    await release.promise;
  });
  await isHeld.promise;
  try {
    for (let round = 1; round <= 5; round += 1) {
      await ana.writes(`Ana ${round}`);
      await ben.writes(`Ben ${round}`);
      await until(`Ben's message ${round} has arrived`, () => hasReceived(`Ben ${round}`), patient(10_000));
    }
    assert.equal(await hasReceived("Ana 5"), false, "Ana's are held up");
  } finally {
    release.resolve();
  }
  await holding;
  await hub.settled();
  for (let round = 1; round <= 5; round += 1) assert.ok(await hasReceived(`Ana ${round}`));
});
