import assert from "node:assert/strict";
import { test } from "node:test";
import type { BusRecord } from "../bus/bus.ts";
import type { InboundEvent, SendOutcome } from "../connectors/connector.ts";
import { maxPeople } from "../contacts/contacts.ts";
import type { PipelineDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import { systemClock } from "../lib/clock.ts";
import { msOf } from "../lib/ids.ts";
import { all, one } from "../lib/query.ts";
import { type PipelineOptions, startPipeline } from "../testing/test-pipeline.ts";
import { until } from "../testing/until.ts";
import { receiveWebhooks } from "./receive.ts";
import { openWebhookStore } from "./webhook-store.ts";
import type { InboundRecord } from "./webhooks.ts";

test("an unknown sender becomes a contact with a private conversation, which later messages join", async () => {
  await using inbox = await open();
  await inbox.receive(said("m1", "ana", "oi"), said("m2", "ana", "tudo bem?"));
  await inbox.receive(said("m3", "ana", "?"));
  const messages = await inbox.messages();
  assert.deepEqual(
    messages.map(({ seq, direction, text }) => [seq, direction, text]),
    [
      [1, "inbound", "oi"],
      [2, "inbound", "tudo bem?"],
      [3, "inbound", "?"],
    ],
  );
  assert.equal(new Set(messages.map((message) => message.conversation_id)).size, 1);
});

test("the same webhook twice is the same message", async () => {
  await using inbox = await open();
  await inbox.receive(said("m1", "ana", "oi"));
  await inbox.receive(said("m1", "ana", "oi"), said("m1", "ana", "oi"));
  assert.equal((await inbox.messages()).length, 1);
});

test("a platform's time that is far in the future is not the time of the message's id", async () => {
  await using inbox = await open();
  const days = (count: number) => Date.now() + count * 24 * 3_600_000;
  for (const at of [days(6), days(8), days(8)]) await inbox.receive({ ...said(`m ${at > days(7)}`, "ana", "oi"), at });
  const times = (await inbox.messages()).map(({ message_id }) => msOf(message_id));
  assert.equal(times.length, 2);
  assert.ok(times[0]! > days(5));
  assert.equal(times[1], 0);
});

// Once the second webhook was refused, as another message with the same id.
test("the same message in two webhooks that are read at once is stored once, without a warning", async () => {
  await using inbox = await open();
  await inbox.receiveAtOnce([said("m1", "ana", "oi")], [said("m1", "ana", "oi")], [said("m2", "ana", "2")]);
  assert.equal((await inbox.messages()).length, 2);
  assert.deepEqual(inbox.lines, []);
  const noted = await all(inbox.line.pool, "SELECT error FROM webhooks WHERE error IS NOT NULL");
  assert.deepEqual(noted, []);
});

test("a reply or a reaction finds its message when both are read in one batch", async () => {
  await using inbox = await open();
  const reaction = { type: "reaction", message_id: "", emoji: "👍" } as const;
  await inbox.receive(
    said("m1", "ana", "which one?"),
    { ...said("m2", "ana", "that one"), quotedProviderMessageId: "m1" },
    { ...said("m3", "ana", ""), payload: reaction, quotedProviderMessageId: "m2" },
  );
  const [asked, answer, reacted] = await inbox.messages();
  assert.equal(answer!.reply_to, asked!.message_id);
  assert.equal(reacted!.reacts_to, answer!.message_id);
});

test("a reply joins the conversation of the message that it quotes, else the last one of its address", async () => {
  await using inbox = await open();
  const { line } = inbox;
  const ana = await line.addPerson("ana");
  const [first, last] = [await line.addConversation(ana), await line.addConversation(ana)];
  const asked = await line.say(first, "which one?");
  // Conversations are routed in parallel.
  await line.settled();
  await line.say(last, "and now?");
  await line.settled();
  const quoted = (await line.deliveryOf(asked.messageId)).provider_message_ids![0]!;

  await inbox.receive(said("m1", "ana", "now"));
  await inbox.receive({ ...said("m2", "ana", "that one"), quotedProviderMessageId: quoted });
  const inbound = (await inbox.messages()).filter((message) => message.direction === "inbound");
  assert.deepEqual(
    inbound.map(({ conversation_id, reply_to, text }) => [conversation_id, reply_to, text]),
    [
      [last, null, "now"],
      [first, asked.messageId, "that one"],
    ],
  );
});

// Once such a reply or reaction lost its reference, or was refused.
test("a reply that arrives before the platform has responded to our request finds the message that it quotes", async () => {
  const taken = Promise.withResolvers<SendOutcome>();
  await using inbox = await open({ platform: () => taken.promise });
  const { line } = inbox;
  const ana = await line.addPerson("ana");
  const asked = await line.say(await line.addConversation(ana), "which one?");
  await until("it is being sent", () => line.sent.length === 1);
  const reaction = { type: "reaction", message_id: "", emoji: "👍" } as const;
  const answers = [said("m1", "ana", "that one"), { ...said("m2", "ana", ""), payload: reaction }];
  const before = inbox.statements();
  const received = inbox.receive(...answers.map((one) => ({ ...one, quotedProviderMessageId: "p-late" })));
  await until("the step has polled twice", () => inbox.statements() >= before + 4);
  taken.resolve({ kind: "sent", providerMessageId: "p-late" });
  await received;
  const inbound = (await inbox.messages()).filter((message) => message.direction === "inbound");
  assert.deepEqual(
    inbound.map(({ reply_to, reacts_to }) => [reply_to, reacts_to]),
    [
      [asked.messageId, null],
      [null, asked.messageId],
    ],
  );
});

test("a reply that quotes an unknown message waits a bounded time for an attempt under way", async () => {
  const taken = Promise.withResolvers<SendOutcome>();
  await using inbox = await open({ platform: () => taken.promise });
  const { line } = inbox;
  await line.say(await line.addConversation(await line.addPerson("ana")), "which one?");
  await until("it is being sent", () => line.sent.length === 1);
  await inbox.receive({ ...said("m1", "ana", "that one"), quotedProviderMessageId: "nowhere" });
  assert.deepEqual((await inbox.messages()).map(({ text, reply_to }) => [text, reply_to])[1], ["that one", null]);
  taken.resolve({ kind: "sent", providerMessageId: "p-late" });
});

// A webhook that got 200 never comes again: a busy hub must not give it up.
test("an overloaded hub keeps inbound messages until it can accept them", async () => {
  await using inbox = await open();
  let refusals = 20;
  inbox.overload(() => {
    refusals -= 1;
    return refusals >= 0;
  });
  await inbox.receive(said("m1", "ana", "oi"));
  assert.equal((await inbox.messages()).length, 1);
});

test("a webhook is read again after a failure of the hub; the reason of a refused message is stored with its webhook", async () => {
  await using inbox = await open();
  inbox.fail(new RequestError("INTERNAL", "the disk is full"));
  await assert.rejects(inbox.receive(said("m1", "ana", "oi")), { code: "INTERNAL" });
  inbox.fail(null);
  await inbox.receive({ ...said("m2", "ana", "x"), payload: { type: "reaction", message_id: "", emoji: "👍" } });
  assert.deepEqual(await inbox.messages(), []);
  const noted = await all<{ error: string }>(inbox.line.pool, "SELECT error FROM webhooks WHERE error IS NOT NULL");
  assert.deepEqual(
    noted.map((row) => row.error),
    ["The reaction is to a message that is not in this conversation."],
  );
});

// Once each message took a transaction of its own: 16 s for 300 messages of one stranger.
test("many messages of unknown senders take as few statements as one message", async () => {
  await using inbox = await open();
  const statementsOf = async (...events: InboundEvent[]) => {
    const before = inbox.statements();
    await inbox.receive(...events);
    return inbox.statements() - before;
  };
  const few = await statementsOf(said("f1", "few", "oi"), said("f2", "few", "oi"));
  const one = await statementsOf(...Array.from({ length: 300 }, (_, n) => said(`o${n}`, "ana", `${n}`)));
  const many = await statementsOf(...Array.from({ length: maxPeople }, (_, n) => said(`m${n}`, `person ${n}`, `${n}`)));
  assert.ok(one <= few + 5 && many <= few + 5, `${few}, ${one} and ${many} statements`);
  const messages = await inbox.messages();
  assert.equal(messages.length, 302 + maxPeople);
  assert.equal(new Set(messages.map((message) => message.conversation_id)).size, 2 + maxPeople);
  const ana = messages.filter(({ conversation_id }) => conversation_id === messages[2]!.conversation_id);
  assert.deepEqual(
    ana.map(({ seq, text }) => [seq, text]),
    Array.from({ length: 300 }, (_, n) => [n + 1, `${n}`]),
  );
});

test("an unknown sender with several identifiers is one contact, also within one webhook", async () => {
  await using inbox = await open();
  await inbox.receive(
    { ...said("m1", "ana", "1"), aliases: ["ana2"] },
    said("m2", "ana2", "2"),
    { ...said("m3", "bob", "3"), aliases: ["bob2"] },
    { ...said("m4", "bob", "4"), aliases: ["bob3"] },
    said("m5", "bob3", "5"),
  );
  const conversations = Map.groupBy(await inbox.messages(), ({ conversation_id }) => conversation_id);
  assert.deepEqual([...conversations.values()].map((those) => those.map(({ text }) => text)).sort(), [
    ["1", "2"],
    ["3", "4", "5"],
  ]);
});

// Once a signed webhook with 20,000 changes wrote 20,000 log lines.
test("a webhook is logged once, however many of its events are refused or have no effect", async () => {
  await using inbox = await open();
  const strange = Array.from({ length: 500 }, (_, n): InboundEvent => ({ kind: "ignored", what: `change ${n}` }));
  await inbox.receive(...strange);
  const wrong = { type: "reaction", message_id: "", emoji: "👍" } as const;
  await inbox.receive(...Array.from({ length: 300 }, (_, n) => ({ ...said(`w${n}`, "ana", "x"), payload: wrong })));
  assert.deepEqual(
    inbox.lines.map(({ count }) => count),
    [500, 300],
  );
  const noted = await all<{ error: string }>(inbox.line.pool, "SELECT error FROM webhooks WHERE error IS NOT NULL");
  assert.match(noted[0]!.error, /\(and 299 more\)$/);
});

function said(providerMessageId: string, identifier: string, text: string): InboundEvent & { kind: "message" } {
  return {
    kind: "message",
    providerMessageId,
    identifier,
    aliases: [],
    displayName: identifier,
    payload: { type: "text", text },
    quotedProviderMessageId: null,
    at: 1_760_000_000_000,
  };
}

interface Stored {
  message_id: string;
  reacts_to: string | null;
  conversation_id: string;
  seq: number;
  direction: string;
  reply_to: string | null;
  text: string;
}

async function open(options: PipelineOptions = {}) {
  const line = await startPipeline(options);
  let isOverloaded = () => false;
  let failure: RequestError | null = null;
  const hasty = { ...systemClock, after: (ms: number, call: () => void) => systemClock.after(ms / 100, call) };
  const lines: { count?: number }[] = [];
  const note = (fields: object) => void lines.push(fields);
  const counted = countStatements(line.deps.db);
  const connector = { ...line.connector, parse: ({ rawBody }: { rawBody: Buffer }) => JSON.parse(String(rawBody)) };
  const acceptor: Pick<typeof line.acceptor, "accept"> = {
    async accept(messages) {
      if (isOverloaded()) throw new RequestError("OVERLOADED", "not now");
      const refused = failure;
      if (refused === null) return line.acceptor.accept(messages);
      return messages.map(({ messageId }) => ({ kind: "refused", messageId, error: refused }));
    },
  };
  const deps = {
    ...line.deps,
    clock: hasty,
    log: { info: note, warn: note, error: note },
    db: counted.db,
    acceptor,
    taskNotifier: { due() {} },
    connectorFor: () => connector,
    findAccount: async () => ({ ...line.account, workspaceId: line.workspaceId }),
  };
  const store = openWebhookStore({ ...deps, db: line.deps.db, clock: line.deps.clock, isFused: false });
  async function receiveAtOnce(...calls: InboundEvent[][]): Promise<void> {
    const records: BusRecord<InboundRecord>[] = [];
    for (const events of calls) {
      const rawBody = Buffer.from(JSON.stringify(events));
      await store.keep({ workspaceId: line.workspaceId, channelAccountId: line.accountId, headers: {}, rawBody });
      const newest = await one<InboundRecord>(
        line.pool,
        `SELECT webhook_id AS "webhookId" FROM webhooks ORDER BY webhook_id DESC LIMIT 1`,
      );
      records.push({ partition: 0, offset: records.length + 1, key: line.accountId, value: newest });
    }
    await receiveWebhooks(deps, records);
  }

  return {
    line,
    lines,
    statements: counted.statements,
    /** The platform calls with these events, and the step reads them. */
    receive: (...events: InboundEvent[]) => receiveAtOnce(events),
    /** The platform calls several times, and the step reads all calls in one batch. */
    receiveAtOnce,
    overload(decide: () => boolean) {
      isOverloaded = decide;
    },
    fail(error: RequestError | null) {
      failure = error;
    },
    messages: () =>
      all<Stored>(
        line.pool,
        `SELECT message_id, conversation_id, seq, direction, reply_to, payload ->> 'message_id' AS reacts_to,
           payload ->> 'text' AS text FROM messages
         ORDER BY created_at, seq`,
      ),
    [Symbol.asyncDispose]: () => line[Symbol.asyncDispose](),
  };
}

/** The statements of the step itself; `accept` has its own pool. */
function countStatements(pool: PipelineDb) {
  let statements = 0;
  const counting = (target: object): object =>
    new Proxy(target, {
      get(real, name) {
        const value = Reflect.get(real, name, real);
        if (name === "query") statements += 1;
        if (name === "connect") return async () => counting(await value.call(real));
        return typeof value === "function" ? value.bind(real) : value;
      },
    });
  return { db: counting(pool) as PipelineDb, statements: () => statements };
}
