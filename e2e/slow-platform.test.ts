/**
 * The disaster: a platform responds late or not at all, and a message is sent again that it had taken, its lane stands
 * still, or messages to other people wait too.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";

const channels = ["whatsapp", "telegram"];

async function say(hub: TestHub, person: Person, text: string): Promise<string> {
  return (await hub.client.messages.send({ to: person.address, payload: { type: "text", text } })).message_id;
}

async function outcomesOf(hub: TestHub, messageId: string): Promise<unknown[]> {
  const trace = await hub.client.messages.trace(messageId);
  return trace.flatMap((entry) => (entry.what === "attempt" ? [entry.outcome] : []));
}

test("a response within the time limit is waited for: one attempt, and the lane continues after it", async () => {
  await using hub = await startTestHub({ env: { DELIVERY_TIMEOUT: "1m" } });
  const said = await Promise.all(
    channels.flatMap((channel) =>
      [250, 2_000].map(async (delay_ms) => {
        const person = hub.person(channel);
        await hub.simulator.break({ channel, fault: "slow", to: person.identifier, delay_ms, count: 1 });
        return { person, messageIds: [await say(hub, person, "first"), await say(hub, person, "second")] };
      }),
    ),
  );
  await hub.settled();
  for (const { person, messageIds } of said) {
    assert.deepEqual(await person.texts(), ["first", "second"]);
    for (const messageId of messageIds) assert.deepEqual(await outcomesOf(hub, messageId), ["sent"]);
  }
});

test("a response after the time limit, or none, is recorded as unknown; the lane continues, and others are not delayed", async () => {
  const timeoutMs = patient(2_000);
  // On WhatsApp a receipt settles the attempt, however slow the machine is.
  await using hub = await startTestHub({ env: { DELIVERY_TIMEOUT: `${timeoutMs}ms`, UNKNOWN_GRACE: "5m" } });
  const faults = [
    { fault: "slow", delay_ms: timeoutMs + 1_000, count: 1 },
    { fault: "timeout_after_accept", delay_ms: 3_600_000, count: 1 },
  ] as const;
  const said = await Promise.all(
    channels.flatMap((channel) =>
      faults.map(async (fault) => {
        const person = hub.person(channel);
        await hub.simulator.break({ channel, to: person.identifier, ...fault });
        return { person, first: await say(hub, person, "first") };
      }),
    ),
  );
  await until("the platforms have the requests", async () =>
    (await hub.simulator.faults()).every(({ hits }) => hits === 1),
  );
  for (const channel of channels) {
    const other = hub.person(channel);
    for (const text of ["1", "2", "3"]) await say(hub, other, text);
    await other.receives(3);
  }
  for (const { first } of said) {
    assert.deepEqual(await outcomesOf(hub, first), [], "others waited until its attempt had ended");
  }
  const seconds = await Promise.all(said.map(({ person }) => say(hub, person, "second")));
  await hub.settled(2 * timeoutMs + 20_000);
  for (const [index, { person, first }] of said.entries()) {
    const texts = await person.texts();
    const isRepeated = person.channel === "telegram";
    assert.deepEqual(await outcomesOf(hub, first), isRepeated ? ["unknown", "sent"] : ["unknown"]);
    assert.deepEqual(await outcomesOf(hub, seconds[index]!), ["sent"]);
    assert.deepEqual([...new Set(texts)], ["first", "second"]);
    assert.equal(texts.length, isRepeated ? 3 : 2);
    const { status } = await hub.client.messages.get(first);
    assert.equal(status, isRepeated ? "sent" : "read");
  }
});
