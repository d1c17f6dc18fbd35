import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Payload } from "../client/src/client.ts";
import { connectors } from "../server/src/connectors/registry.ts";
import { until } from "../server/src/testing/until.ts";
import { type Checker, openChecker } from "./src/checker.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { inParallel } from "./src/in-parallel.ts";
import { assertFine, observe } from "./src/observe.ts";
import type { Person } from "./src/people.ts";
import type { Fault } from "./src/simulator-client.ts";

const text = (text: string): Payload => ({ type: "text", text });
const channels = connectors.map(({ channel }) => channel);

/** Sends `count` messages over the conversations, round robin, each conversation's in order; the checker knows them. */
async function sendAll(hub: TestHub, checker: Checker, conversations: readonly Talk[], count: number): Promise<void> {
  await inParallel(conversations, 16, async ({ conversation_id, people }, place) => {
    const recipients = people.map(({ address }) => address);
    for (let number = place; number < count; number += conversations.length) {
      const text = `message ${number}`;
      const { seq, message_id } = await hub.client.messages.send({ conversation_id, payload: { type: "text", text } });
      checker.accepted({ conversation: conversation_id, seq, messageId: message_id, text, recipients });
    }
  });
}

interface Talk {
  conversation_id: string;
  people: Person[];
}

async function talk(hub: TestHub, ...people: Person[]): Promise<Talk> {
  const agent = await hub.user("agent");
  const { conversation_id } = await hub.group([...people, agent.user_id, (await hub.user("agent")).user_id]);
  return { conversation_id, people };
}

const idOf = ({ conversation_id }: Talk) => conversation_id;

test("every message is delivered in order, although platforms time out, fail, refuse, reset, duplicate and reorder", async () => {
  await using hub = await startTestHub({ env: { DELIVERY_TIMEOUT: "300ms", UNKNOWN_GRACE: "500ms" } });
  const talks = await Promise.all(
    Array.from({ length: 30 }, (_, index) => {
      const pair = channels.map((channel) => hub.person(channel));
      return talk(hub, ...(index % 3 === 0 ? pair : [pair[index % pair.length]!, hub.person("telegram")]));
    }),
  );
  const faults: Omit<Fault, "channel">[] = [
    { fault: "timeout_after_accept", probability: 0.3, delay_ms: 2_000 },
    { fault: "server_error", probability: 0.1 },
    // By chance it happened so seldom that one run in thirty had none.
    { fault: "rate_limit", count: 3, retry_after_s: 1 },
    { fault: "connection_reset", probability: 0.05 },
    { fault: "duplicate_webhooks", probability: 0.3, delay_ms: 50 },
    { fault: "reorder_webhooks", probability: 0.3, delay_ms: 100 },
  ];
  for (const channel of channels) for (const fault of faults) await hub.simulator.break({ channel, ...fault });

  const checker = openChecker();
  await sendAll(hub, checker, talks, 240);
  await hub.settled(90_000);
  const { client, simulator } = hub;
  const observed = await observe({ client, simulator, conversationIds: talks.map(idOf), checker });
  assertFine(observed);

  const ends: Record<string, number> = {};
  for (const { deliveries } of observed.messages) {
    for (const { channel, status } of deliveries) {
      ends[`${channel} ${status}`] = (ends[`${channel} ${status}`] ?? 0) + 1;
    }
  }
  const final = connectors.map(({ channel, capabilities }) => `${channel} ${capabilities.receipts.at(-1)}`);
  assert.deepEqual(Object.keys(ends).toSorted(), ["app in_transit", ...final].toSorted());
  // Every kind of fault happened.
  for (const { fault, channel, hits } of await hub.simulator.faults()) {
    const isPossible = fault !== "duplicate_webhooks" && fault !== "reorder_webhooks";
    if (isPossible) assert.ok(hits > 0, `${fault} never hit ${channel}`);
  }
  assert.ok(observed.counts.excusedDuplicates > 0, "no attempt without a response was repeated");
});

for (const channel of channels) {
  describe(`on ${channel}`, () => {
    test("a lane that is down does not block other lanes", async () => {
      await using hub = await startTestHub();
      const [lost, ...others] = Array.from({ length: 6 }, () => hub.person(channel));
      const talks = await Promise.all(others.map((person) => talk(hub, person)));
      const blocked = await talk(hub, lost!);
      await hub.simulator.break({ channel, fault: "rate_limit", to: lost!.identifier, retry_after_s: 0 });
      await hub.client.messages.send({ conversation_id: blocked.conversation_id, payload: text("waits") });
      const checker = openChecker();
      await sendAll(hub, checker, talks, 50);
      await Promise.all(others.map((person) => person.receives(10)));
      assert.deepEqual(await lost!.texts(), []);

      await hub.simulator.repair();
      await lost!.receives(1);
      await hub.settled();
      const { client, simulator } = hub;
      checker.maybeAccepted({ conversation: idOf(blocked), text: "waits", recipients: [lost!.address] });
      assertFine(await observe({ client, simulator, conversationIds: talks.map(idOf), checker }));
    });

    test("a poison message never blocks its lane", async () => {
      await using hub = await startTestHub();
      const ana = hub.person(channel);
      const { conversation_id } = await talk(hub, ana);
      const sent: string[] = [];
      for (let number = 0; number < 9; number += 1) {
        if (number % 3 === 1) await hub.simulator.break({ channel, fault: "permanent", to: ana.identifier, count: 1 });
        const { message_id } = await hub.client.messages.send({ conversation_id, payload: text(`${number}`) });
        sent.push(message_id);
        await hub.settled();
      }
      assert.deepEqual(await ana.texts(), ["0", "2", "3", "5", "6", "8"]);
      const { data } = await hub.client.deadLetters.list();
      const poisoned = data.map((letter) => "message_id" in letter && sent.indexOf(letter.message_id)).toSorted();
      assert.deepEqual(poisoned, [1, 4, 7]);
    });

    test("sends to a channel that is down pause until it is back, and then every message arrives", async () => {
      await using hub = await startTestHub();
      const people = Array.from({ length: 8 }, () => hub.person(channel));
      const talks = await Promise.all(people.map((person) => talk(hub, person)));
      const { channel_account_id } = await hub.account(channel);
      const health = () => hub.client.channelAccounts.health(channel_account_id);
      assert.equal((await health()).breaker, "closed");
      await hub.simulator.break({ channel, fault: "down" });
      const checker = openChecker();
      await sendAll(hub, checker, talks, 40);
      // Requests that were under way when it opened still arrive.
      const down = await until("the breaker is open, and no request is under way", async () => {
        const reported = await health();
        return reported.breaker !== "closed" && reported.in_flight === 0 && reported;
      });
      assert.ok(down.last_error?.detail);
      assert.ok(down.pending > 0);
      const [before, later] = [await countHits(hub), await afterHalfASecond(hub)];
      assert.ok(later - before <= 3, `${later - before} requests went to a platform that is down`);

      await hub.simulator.repair();
      await hub.settled(30_000);
      const { client, simulator } = hub;
      assertFine(await observe({ client, simulator, conversationIds: talks.map(idOf), checker }));
      const { breaker, pending } = await health();
      assert.deepEqual([breaker, pending], ["closed", 0]);
    });
  });
}

async function countHits(hub: TestHub): Promise<number> {
  return (await hub.simulator.faults()).find(({ fault }) => fault === "down")!.hits;
}

/** Its own time, for what must not happen within it. */
async function afterHalfASecond(hub: TestHub): Promise<number> {
  const end = Date.now() + 500;
  await until("half a second is over", () => Date.now() >= end);
  return countHits(hub);
}
