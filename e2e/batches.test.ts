/** Requests with many items: none holds up the others, and a repeat finishes what the first try could not do. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
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
  return result;
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

test("a request with many new people waits on one connection, and others are answered meanwhile", async () => {
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
