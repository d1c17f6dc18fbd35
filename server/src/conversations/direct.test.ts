import assert from "node:assert/strict";
import { before, test } from "node:test";
import { systemOf } from "../audit/audit.ts";
import { createContact, deleteContact, mergeContacts } from "../contacts/contacts.ts";
import { systemClock as clock } from "../lib/clock.ts";
import { type Pool, type PoolOf, transaction } from "../lib/postgres.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { addUser, addWorkspace, countRows, openTestPool, testParseAddress } from "../testing/test-people.ts";
import {
  createConversation,
  type Direct,
  findDirectsTo,
  findOrCreateDirects,
  leaveGroups,
  moveMemberships,
} from "./conversations.ts";

let database: Awaited<ReturnType<typeof openTestPool>>;
let pool: PoolOf<unknown>;
const opened = closeAfterTests();
before(async () => {
  database = opened.use(await openTestPool());
  pool = database.pool;
});

async function openPair() {
  const workspaceId = await addWorkspace(pool);
  const agent = await addUser(pool, workspaceId, "Rui", "agent");
  const contact = await createContact({ db: pool, clock, parseAddress: testParseAddress }, workspaceId, {
    display_name: "Ana",
  });
  const direct = (senderId: string, mayUseWorkspace = false, recipientId = contact.contactId) =>
    transaction(pool, async (tx) =>
      only(await findOrCreateDirects({ db: tx, clock }, workspaceId, [{ senderId, recipientId, mayUseWorkspace }])),
    );
  const create = async (members: string[]) => {
    const deps = { db: pool, clock, parseAddress: testParseAddress };
    return (await createConversation(deps, agent, { type: "private", members })).conversation;
  };
  return { workspaceId, agentId: agent.participantId, contactId: contact.contactId, direct, create };
}

function only(directs: Direct[]): { conversationId: string } {
  assert.equal(directs.length, 1);
  const [direct] = directs;
  if (typeof direct !== "string") throw direct;
  return { conversationId: direct };
}

async function findDirectTo(
  { workspaceId, senderId, mayUseWorkspace }: { workspaceId: string; senderId: string; mayUseWorkspace: boolean },
  to: string,
) {
  const asked = { senderId, mayUseWorkspace, address: testParseAddress(to) };
  return only(await findDirectsTo({ db: pool, clock }, { workspaceId, mayReachContacts: true }, [asked]));
}

test("200 concurrent calls agree on one private conversation", async () => {
  const { agentId, direct } = await openPair();
  const before = await countRows(pool, "conversations");

  const answers = await Promise.all(Array.from({ length: 200 }, () => direct(agentId)));

  assert.equal(new Set(answers.map((answer) => answer.conversationId)).size, 1);
  assert.equal((await countRows(pool, "conversations")) - before, 1);
});

test("the existing private conversation of exactly these two is used", async () => {
  const { agentId, contactId, workspaceId, direct, create } = await openPair();
  await create([workspaceId, contactId]);
  const made = await create([contactId, agentId]);

  assert.equal((await direct(agentId)).conversationId, made.conversationId);
});

test("creating it and writing concurrently lead to one conversation", async () => {
  const { agentId, contactId, direct, create } = await openPair();
  const before = await countRows(pool, "conversations");

  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      index % 2 === 0 ? direct(agentId) : create(index % 4 === 1 ? [agentId, contactId] : [contactId, agentId]),
    ),
  );

  assert.equal(new Set(answers.map(({ conversationId }) => conversationId)).size, 1);
  assert.equal((await countRows(pool, "conversations")) - before, 1);
});

test("a caller who sees all conversations continues the one that the person has with the workspace", async () => {
  const { agentId, workspaceId, direct } = await openPair();
  const shared = await direct(workspaceId);

  assert.deepEqual(await direct(agentId, true), shared);
  assert.notDeepEqual(await direct(agentId, false), shared);
});

// Otherwise a customer who wrote to the workspace got the reply in another conversation.
test("of a caller's own conversation with the person and the workspace's, the one used last is continued", async () => {
  const { agentId, workspaceId, direct } = await openPair();
  const [own, shared] = [await direct(agentId), await direct(workspaceId)];
  const used = (id: string) =>
    pool.query("UPDATE conversations SET active_at = clock_timestamp() + '1 hour' WHERE conversation_id = $1", [id]);
  await used(shared.conversationId);
  assert.deepEqual(await direct(agentId, true), shared);
  assert.deepEqual(await direct(agentId), own, "a caller who does not see all keeps to its own");
  await pool.query("UPDATE conversations SET active_at = created_at WHERE conversation_id = $1", [
    shared.conversationId,
  ]);
  await used(own.conversationId);
  assert.deepEqual(await direct(agentId, true), own);
});

test("a participant has no private conversation with itself", async () => {
  const { contactId, direct } = await openPair();

  await assert.rejects(direct(contactId), { code: "VALIDATION_ERROR" });
});

test("200 concurrent sends to an unknown address create one contact and one conversation", async () => {
  const { agentId, workspaceId } = await openPair();
  const before = [await countRows(pool, "contacts"), await countRows(pool, "conversations")];
  const send = (to: string) => findDirectTo({ workspaceId, senderId: agentId, mayUseWorkspace: true }, to);

  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => send(index % 2 ? "phone:+55 11 99999 1111" : "phone:5511999991111")),
  );

  assert.equal(new Set(answers.map((answer) => answer.conversationId)).size, 1);
  const made = [await countRows(pool, "contacts"), await countRows(pool, "conversations")];
  assert.deepEqual(made, [before[0]! + 1, before[1]! + 1]);
});

test("a recipient who was just merged is reached as the survivor, and one who was deleted is not reached", async () => {
  const { agentId, contactId, workspaceId, direct } = await openPair();
  const input = { display_name: "Ana M." };
  const survivor = await createContact({ db: pool, clock, parseAddress: testParseAddress }, workspaceId, input);
  const known = await direct(agentId, false, survivor.contactId);
  await mergeContacts({ db: pool, clock, moveMemberships }, systemOf(workspaceId), contactId, survivor.contactId);

  assert.deepEqual(await direct(agentId), known);
  await deleteContact({ db: pool, clock, leaveGroups }, systemOf(workspaceId), survivor.contactId);
  await assert.rejects(direct(workspaceId), { code: "CONFLICT" });
});

test("a merge keeps the survivor's known conversation, and adds that of the other", async () => {
  const { agentId, contactId, workspaceId, direct } = await openPair();
  const input = { display_name: "Ana M.", addresses: ["chat:ana-m"] };
  const survivor = await createContact({ db: pool, clock, parseAddress: testParseAddress }, workspaceId, input);
  const to = (senderId: string) => findDirectTo({ workspaceId, senderId, mayUseWorkspace: false }, "chat:ana-m");
  const [kept, , brought] = [await to(agentId), await direct(agentId), await direct(workspaceId)];

  await mergeContacts({ db: pool, clock, moveMemberships }, systemOf(workspaceId), contactId, survivor.contactId);

  assert.deepEqual(await to(agentId), kept);
  assert.deepEqual(await to(workspaceId), brought);
});

test("many addresses take a few statements, one after the other, for known and for unknown people", async () => {
  const { agentId, workspaceId, create } = await openPair();
  const phone = (number: number) => ({ channel: "phone", identifier: String(5_511_000_000_000 + number) });
  const addContact = (number: number) => {
    const input = { display_name: "Known", addresses: [`phone:${phone(number).identifier}`] };
    return createContact({ db: pool, clock, parseAddress: testParseAddress }, workspaceId, input);
  };
  // Some have a contact only, one a private conversation that was created without an address.
  for (let number = 0; number < 90; number += 3) await addContact(number);
  const given = await create([agentId, (await addContact(1)).contactId]);
  const asked = Array.from({ length: 90 }, (_, number) => {
    return { senderId: number % 2 ? agentId : workspaceId, mayUseWorkspace: false, address: phone(number) };
  });
  const counted = countStatements(pool);
  const find = () =>
    findDirectsTo({ db: counted.pool, clock }, { workspaceId, mayReachContacts: true }, [...asked, ...asked]);

  const directs = await find();

  assert.equal(new Set(directs).size, 90);
  assert.equal(directs[1], given.conversationId);
  assert.deepEqual(directs.slice(90), directs.slice(0, 90));
  assert.ok(counted.statements <= 20, `${counted.statements} statements`);
  assert.equal(counted.mostAtOnce, 1);
  counted.statements = 0;
  assert.deepEqual(await find(), directs);
  assert.equal(counted.statements, 2);
});

/** A view of the pool that counts its statements, also in transactions. */
function countStatements(of: PoolOf<unknown>) {
  const counted = { statements: 0, atOnce: 0, mostAtOnce: 0 };
  async function count<Result>(work: () => Promise<Result>): Promise<Result> {
    counted.statements += 1;
    counted.atOnce += 1;
    counted.mostAtOnce = Math.max(counted.mostAtOnce, counted.atOnce);
    return work().finally(() => (counted.atOnce -= 1));
  }
  const counting = <Of extends Pick<Pool, "query">>(db: Of): Of =>
    new Proxy(db, {
      get(target, name) {
        if (name === "query") return (text: string, values?: unknown[]) => count(() => target.query(text, values));
        if (name === "connect") return async () => counting(await (target as unknown as Pool).connect());
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  return Object.assign(counted, { pool: counting(of) });
}
