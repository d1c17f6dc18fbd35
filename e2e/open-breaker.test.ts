/** The disaster: a platform is down for long, and what waits for it fills the memory or holds up another channel. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../server/src/testing/until.ts";
import { startTestHub } from "./src/harness.ts";
import { memoryInUse } from "./src/memory-in-use.ts";

const lanes = 50;
const batches = 20;
const batchSize = 500;
const total = batches * batchSize;
const padding = ".".repeat(1_800);
/** While the second half of the messages is accepted. */
const mostGrowthBytes = (total * padding.length) / 4;

test(`${total} messages wait behind an open circuit breaker in the database, and arrive in order when the platform is back`, async (t) => {
  await using hub = await startTestHub();
  const people = Array.from({ length: lanes }, () => hub.person("whatsapp"));
  const other = hub.person("telegram");
  const { channel_account_id } = await hub.account("whatsapp");
  const health = () => hub.client.channelAccounts.health(channel_account_id);
  await hub.simulator.settings("whatsapp", { auto_receipts: false });
  await hub.simulator.break({ channel: "whatsapp", fault: "down" });
  await hub.client.messages.sendBatch(
    people.map(({ address }) => ({ to: address, payload: { type: "text", text: "0" } })),
  );
  await until("the breaker is open", async () => (await health()).breaker !== "closed");

  const heapBytes: number[] = [];
  for (let batch = 0; batch < batches; batch += 1) {
    const messages = Array.from({ length: batchSize }, (_, index) => {
      const number = 1 + Math.floor((batch * batchSize + index) / lanes);
      return { to: people[index % lanes]!.address, payload: { type: "text" as const, text: `${number} ${padding}` } };
    });
    const results = await hub.client.messages.sendBatch(messages);
    assert.ok(results.every(({ error }) => error === undefined));
    await hub.client.messages.send({ to: other.address, payload: { type: "text", text: `${batch}` } });
    await other.receives(batch + 1);
    heapBytes.push((await memoryInUse()).heapUsed);
  }
  const { breaker, pending } = await health();
  assert.notEqual(breaker, "closed");
  assert.equal(pending, total + lanes);
  const grownBytes = heapBytes.at(-1)! - heapBytes[batches / 2 - 1]!;
  t.diagnostic(`the heap grew by ${Math.round(grownBytes / 1024)} KiB`);
  assert.ok(grownBytes < mostGrowthBytes, `it grew by ${grownBytes} bytes`);

  await hub.simulator.repair();
  await hub.settled(120_000);
  const numbers = Array.from({ length: 1 + total / lanes }, (_, index) => index);
  for (const person of people) {
    const received = (await person.texts()).map((text) => Number.parseInt(text!, 10));
    assert.deepEqual(received, numbers, person.address);
  }
});
