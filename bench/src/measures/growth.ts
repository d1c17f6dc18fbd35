import { fillDatabase } from "../hub/fill-database.ts";
import { sendThrough } from "../hub/send-through.ts";
import { call, each } from "../hub/setup.ts";
import { checkAccepted, openStage, type Stage } from "../hub/stage.ts";
import { receiptTraffic } from "../hub/webhook-traffic.ts";
import { startGenerator } from "../load/generator.ts";
import type { SentMessage } from "../load/receipts.ts";
import { atMostTimes, type Bench, CheckFailed, compare, type Measure, type Row, row } from "../measure.ts";
import { type Turns, takeTurns } from "../turns.ts";
import { describeCost, storageUs } from "../watch/cpu.ts";
import { partsOf } from "../watch/observer.ts";
import { settle } from "../watch/settle.ts";
import { withDb } from "../watch/statements.ts";

const people = 50;
/** What the hub itself delivers to each of them; the copies are made of it. */
const templatesEach = 40;
/** With it a partition holds a month, so that the copies are in several. */
const retention = "180d";
/** So short that the nearly empty database has such pages too. */
const pageLength = 25;
const sentPerTurn = 500;
const pagesPerTurn = 300;
const repeatsPerTurn = 300;
/** Messages from which the repeated ones and the receipts are taken, in turn. */
const sampled = 2_000;
const webhookConnections = 16;

/**
 * Whether the hub costs more as its database grows: beside a hub whose database is nearly empty, what one message costs
 * from its request to its last receipt, a page of a conversation's history, a message that is sent again with its id, and
 * a receipt. Core time of hub and database.
 */
export const growth: Measure = {
  names: ["growth.e2e", "growth.history", "growth.repeats", "growth.receipts"],
  onlyWhenNamed: true,
  async run(bench): Promise<Row[]> {
    const full = await openSide(bench);
    const empty = await openSide(bench);
    const { databaseUrl } = full.stage.hub;
    const added = await fillDatabase(databaseUrl, bench.plan.messages, (line) => bench.progress(line));
    full.stage.count(added);
    const note = `${full.stage.accepted} messages beside ${empty.stage.accepted}`;
    bench.progress(note);

    const kinds = { e2e: sendSome, history: readPages, repeats: repeatSome, receipts: sendReceipts };
    const rows: Row[] = [];
    for (const [kind, work] of Object.entries(kinds)) {
      const sides = { full: () => work(bench, full), empty: () => work(bench, empty) };
      const turns: Turns<typeof sides> = await takeTurns(sides, bench.plan.pairs, ({ full, empty }, pair) =>
        bench.progress(`${kind}, pair ${pair}: full ${describeCost(full)}; empty ${describeCost(empty)}`),
      );
      const figures = compare(turns.full.map(storageUs), turns.empty.map(storageUs));
      rows.push(row({ name: `growth.${kind}`, unit: "µs each", note }, figures, atMostTimes(1.2)));
    }
    await checkAccepted(full.stage);
    await checkAccepted(empty.stage);
    return rows;
  },
};

interface Side {
  stage: Stage;
  parts: ReturnType<typeof partsOf>;
  webhooks: Awaited<ReturnType<typeof startGenerator>>;
  sample: Promise<Sample> | null;
}

interface Sample {
  messages: { message_id: string; conversation_id: string; payload: object }[];
  sent: SentMessage[];
}

async function openSide(bench: Bench): Promise<Side> {
  const stage = await openStage(bench.resources, bench.observer, "whole", { MESSAGES_RETENTION: retention });
  const webhooks = bench.resources.use(await startGenerator());
  const parts = { ...partsOf({ hub: stage.hub, generatorPid: null }), simulator: null };
  const side: Side = { stage, parts, webhooks, sample: null };
  await send(side, templatesEach * people);
  return side;
}

async function send({ stage }: Side, messages: number): Promise<void> {
  const { hub, generator, inbox } = stage;
  const traffic = stage.traffic(1);
  const conversationIds = traffic.conversationIds.slice(0, people);
  const line = { traffic: { ...traffic, conversationIds }, generator, inbox, databaseUrl: hub.databaseUrl };
  await sendThrough(line, messages);
  stage.count(messages);
}

function sendSome(bench: Bench, side: Side) {
  return bench.observer.meter(side.parts, async () => {
    await send(side, sentPerTurn);
    return { messages: sentPerTurn };
  });
}

/** Whole pages, from anywhere in the conversation of any person. */
function readPages(bench: Bench, { stage, parts }: Side) {
  const { hub, authorization, conversations, accepted } = stage;
  const earlier = Math.floor(accepted / people) - pageLength;
  return bench.observer.meter(parts, async () => {
    await each(Array.from({ length: pagesPerTurn }), async () => {
      const { conversationId } = conversations[Math.floor(Math.random() * people)]!;
      const before = 1 + pageLength + Math.floor(Math.random() * earlier);
      const path = `/v1/conversations/${conversationId}/messages?limit=${pageLength}&before_seq=${before}`;
      const { data } = await call<{ data: unknown[] }>(hub.url, path, authorization);
      if (data.length !== pageLength) throw new CheckFailed(`A page has ${data.length} messages, not ${pageLength}.`);
    });
    return { messages: pagesPerTurn };
  });
}

async function repeatSome(bench: Bench, side: Side) {
  const { hub, authorization } = side.stage;
  const { messages } = await sampleOf(side);
  return bench.observer.meter(side.parts, async () => {
    await each(messages.splice(0, repeatsPerTurn), async (message) => {
      await call(hub.url, "/v1/messages", authorization, message);
      messages.push(message);
    });
    return { messages: repeatsPerTurn };
  });
}

/** Each receipt finds its delivery, whose status is `read` already. */
async function sendReceipts(bench: Bench, side: Side) {
  const { stage, parts, webhooks } = side;
  const { sent } = await sampleOf(side);
  const traffic = await receiptTraffic(stage, sent);
  return bench.observer.meter(parts, async () => {
    const pace = { kind: "closed", durationMs: bench.plan.turnMs, warmUpMs: 0 } as const;
    const { accepted } = await webhooks.run({ traffic, connections: webhookConnections, pace });
    await settle(parts);
    return { messages: accepted };
  });
}

/** From all of its time. */
function sampleOf(side: Side): Promise<Sample> {
  const { hub, accepted } = side.stage;
  const percent = Math.min(100, (sampled / accepted) * 200);
  side.sample ??= withDb(hub.databaseUrl, async (db) => {
    const messages = await db.query<Sample["messages"][number]>(
      `SELECT message_id, conversation_id, payload FROM messages TABLESAMPLE SYSTEM (${percent}) LIMIT ${sampled}`,
    );
    const sent = await db.query<SentMessage>(
      `SELECT delivery_id AS "deliveryId", provider_message_ids[1] AS "providerMessageId", identifier AS "to"
       FROM deliveries TABLESAMPLE SYSTEM (${percent}) WHERE status = 'read' LIMIT ${sampled}`,
    );
    return { messages: messages.rows, sent: sent.rows };
  });
  return side.sample;
}
