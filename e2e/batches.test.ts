/** Requests with many items: none holds up the others, and a repeat finishes what the first try could not do. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import type { AcceptedMessage, BatchResult } from "../client/src/client.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { firstWorkspace, text, type Workspace } from "./src/workspace.ts";

const opened = closeAfterTests();
let hub: TestHub;
let home: Workspace;
let people = 0;

before(async () => {
  hub = opened.use(await startTestHub({ expectedErrors: /a request failed/ }));
  home = await firstWorkspace(hub);
});

function newAddress(): string {
  people += 1;
  return `whatsapp:+55119${String(people).padStart(8, "0")}`;
}

const newPeople = (count: number) => Array.from({ length: count }, newAddress);
const greet = (to: string) => ({ to, payload: text("Hi") });

function requireAccepted(result: BatchResult): AcceptedMessage {
  assert.ok(result.error === undefined, JSON.stringify(result.error));
  return result as AcceptedMessage;
}

/** How many connections the request waits on while no person of the workspace may be created. */
async function holdUp(work: () => Promise<unknown>): Promise<number> {
  // The first request of a route takes longer, and the database ends what waits for 30 s.
  await askOthers();
  await using blocker = await openBlocker();
  const working = work();
  const waiting = await until("the request waits", countWaiting);
  await askOthers();
  assert.equal(await countWaiting(), waiting);
  await blocker.end();
  await working;
  return waiting;
}

/** What others ask meanwhile. */
async function askOthers(): Promise<void> {
  await home.member.client.auth.me();
  await home.member.client.conversations.list();
}

async function openBlocker() {
  const client = createClient({ url: hub.databaseUrl, applicationName: "blocker" });
  await client.connect();
  await client.query("BEGIN");
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended('people ' || $1, 0))", [home.workspaceId]);
  const end = () => client.end();
  return { end, [Symbol.asyncDispose]: end };
}

/** Connections that wait for the lock. */
async function countWaiting(): Promise<number | null> {
  const { rows } = await hub.db.query(
    `SELECT count(*) AS count FROM pg_locks JOIN pg_database d ON d.oid = database
     WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted`,
  );
  return rows[0].count || null;
}

test("a batch to many new people uses one database connection and does not delay other requests", async () => {
  const batch = () => home.admin.client.messages.sendBatch(newPeople(50).map(greet));
  assert.equal(await holdUp(batch), 1);

  const members = newPeople(50).map((address) => ({ address }));
  const group = () => home.admin.client.conversations.create({ type: "group", members });
  assert.equal(await holdUp(group), 1);
});

test("a batch to 1,000 new people is accepted whole, each with a contact and a conversation", async () => {
  const addresses = newPeople(1_000);
  const results = await home.admin.client.messages.sendBatch(addresses.map(greet));
  const conversations = results.map((result) => requireAccepted(result).conversation_id);
  assert.equal(new Set(conversations).size, 1_000);
  const again = await home.admin.client.messages.sendBatch(addresses.toReversed().map(greet));
  const found = again.map((result) => requireAccepted(result).conversation_id);
  assert.deepEqual(found.toReversed(), conversations);
});

test("items of a batch to the same new person share one contact and one conversation", async () => {
  const [address, other] = [newAddress(), newAddress()];
  const first = randomUUID();
  const results = await home.admin.client.messages.sendBatch([
    { ...greet(address), message_id: first },
    greet(other),
    { ...greet(address), reply_to: first },
    { ...greet(address), reply_to: randomUUID() },
    greet("whatsapp:nobody"),
    { ...greet(address), from: home.agent.userId },
  ]);
  const [one, answer, agents] = [results[0]!, results[2]!, results[5]!].map(requireAccepted);
  assert.deepEqual([one!.seq, answer!.seq, agents!.seq], [1, 2, 1]);
  assert.equal(answer!.conversation_id, one!.conversation_id);
  assert.notEqual(agents!.conversation_id, one!.conversation_id);
  assert.deepEqual(
    [results[3]!, results[4]!].map(({ error }) => error?.code),
    ["VALIDATION_ERROR", "VALIDATION_ERROR"],
  );
  const { data } = await home.admin.client.contacts.list({ address });
  assert.equal(data.length, 1);
});

test("a member's batch to people that it may not reach is refused item by item", async () => {
  const results = await home.member.client.messages.sendBatch(newPeople(300).map(greet));
  assert.deepEqual([...new Set(results.map(({ error }) => error?.code))], ["FORBIDDEN"]);
});

describe("a partly failed batch with Idempotency-Key", () => {
  const codes = (results: readonly BatchResult[]) => results.map(({ error }) => error?.code ?? "accepted");
  const count = async (conversationId: string) =>
    (await home.admin.client.conversations.messages(conversationId)).data.length;

  test("sends only the failed items again with the same key, and is stored when all were accepted", async () => {
    const [key, group] = [randomUUID(), await hub.group([home.admin.userId, home.agent.userId, home.outsider.userId])];
    const { conversation_id } = group;
    const messages = ["one", "poison", "three"].map((words) => ({ conversation_id, payload: text(words) }));
    const body = { messages: [...messages, { conversation_id, payload: { type: "text" } }] };
    const first = await whilePoisoned(() => post(home.admin.token, { key, body }));
    assert.deepEqual(
      [first.status, codes(first.results)],
      [200, ["accepted", "INTERNAL", "accepted", "VALIDATION_ERROR"]],
    );

    const other = await post(home.admin.token, { key, body: { messages } });
    assert.equal(other.status, 409);
    const again = await post(home.admin.token, { key, body });
    assert.deepEqual([again.isReplayed, codes(again.results)[1]], [false, "accepted"]);
    for (const place of [0, 2, 3]) assert.deepEqual(again.results[place], first.results[place]);
    const last = await post(home.admin.token, { key, body });
    assert.deepEqual([last.isReplayed, last.results], [true, again.results]);
    assert.equal(await count(conversation_id), 3);
  });

  test("retries items that were refused for a reason that others can remove", async () => {
    const key = randomUUID();
    const own = await hub.group([home.admin.userId, home.member.userId, home.outsider.userId]);
    const other = await hub.group([home.admin.userId, home.agent.userId, home.outsider.userId]);
    const body = { messages: [own, other].map(({ conversation_id }) => ({ conversation_id, payload: text("Hi") })) };
    const first = await post(home.member.token, { key, body });
    assert.deepEqual(codes(first.results), ["accepted", "RESOURCE_NOT_FOUND"]);
    await home.admin.client.conversations.addMember(other.conversation_id, home.member.userId);

    const again = await post(home.member.token, { key, body });
    assert.deepEqual(codes(again.results), ["accepted", "accepted"]);
    assert.deepEqual(again.results[0], first.results[0]);
    assert.deepEqual([await count(own.conversation_id), await count(other.conversation_id)], [1, 1]);
  });
});

test("a message that was refused for a reason that others can remove is sent with the same Idempotency-Key", async () => {
  const key = randomUUID();
  const { conversation_id } = await hub.group([home.admin.userId, home.agent.userId, home.outsider.userId]);
  const send = () =>
    post(home.member.token, { key, path: "/v1/messages", body: { conversation_id, payload: text("Hi") } });
  assert.equal((await send()).status, 404);
  await home.admin.client.conversations.addMember(conversation_id, home.member.userId);
  const [sent, again] = [await send(), await send()];
  assert.deepEqual([sent.status, sent.isReplayed, again.status, again.isReplayed], [202, false, 202, true]);
});

/** The database refuses the message with the text "poison", because of what is in it. */
async function whilePoisoned<Result>(work: () => Promise<Result>): Promise<Result> {
  const client = createClient({ url: hub.databaseUrl, applicationName: "poison" });
  await client.connect();
  try {
    await client.query(`
      CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = '22023'; END $$;
      CREATE TRIGGER refuse_poison BEFORE INSERT ON messages FOR EACH ROW
        WHEN (NEW.payload ->> 'text' = 'poison') EXECUTE FUNCTION refuse_poison()`);
    return await work();
  } finally {
    await client.query("DROP FUNCTION IF EXISTS refuse_poison CASCADE");
    await client.end();
  }
}

async function post(
  token: string,
  { key, body, path = "/v1/messages/batch" }: { key: string; body: object; path?: string },
) {
  const answer = await fetch(hub.url + path, {
    method: "POST",
    headers: { "idempotency-key": key, "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  return {
    status: answer.status,
    isReplayed: answer.headers.get("idempotent-replayed") === "true",
    results: ((await answer.json()) as { results: BatchResult[] }).results,
  };
}
