import assert from "node:assert/strict";
import { test } from "node:test";
import { systemOf } from "../audit/audit.ts";
import { createConversation, findDirectsTo, leaveGroups, moveMemberships } from "../conversations/conversations.ts";
import { RequestError } from "../errors.ts";
import { systemClock as clock } from "../lib/clock.ts";
import { transaction } from "../lib/postgres.ts";
import { all } from "../lib/query.ts";
import { addUser, addWorkspace, openTestPool, testParseAddress as parseAddress } from "../testing/test-people.ts";
import {
  addAddress,
  createContact,
  deleteContact,
  findOrCreateContacts,
  getContact,
  mergeContacts,
} from "./contacts.ts";

/** What a merge or a deletion overtakes may fail with its error; nothing may break (such as by a deadlock) or be stranded. */
const honest = ["CONFLICT", "RESOURCE_NOT_FOUND", "VALIDATION_ERROR"];

test("changes during a merge or a deletion leave nothing with a contact that is gone", async () => {
  await using database = await openTestPool();
  const db = database.pool;
  const workspaceId = await addWorkspace(db);
  const agent = await addUser(db, workspaceId, "Rui", "agent");

  const caller = { workspaceId, mayReachContacts: true };
  const findDirect = async (identifier: string) => {
    const address = { channel: "chat", identifier };
    const asked = { senderId: agent.userId, mayUseWorkspace: true, address };
    const [direct] = await findDirectsTo({ db, clock }, caller, [asked]);
    if (direct instanceof RequestError) throw direct;
  };

  async function round(number: number): Promise<void> {
    const create = (name: string) =>
      createContact({ db, clock, parseAddress }, workspaceId, {
        display_name: name,
        addresses: [`chat:${name}-${number}`],
      });
    const [a, b] = [(await create("a")).contactId, (await create("b")).contactId];
    const find = (identifier: string, ...aliases: string[]) =>
      transaction(db, (tx) =>
        findOrCreateContacts({ db: tx, clock }, workspaceId, [
          { workspaceId, channel: "chat", identifier, aliases, displayName: "Ana" },
        ]),
      );
    const add = (participantId: string, identifier: string) =>
      addAddress(
        { db, clock },
        systemOf(workspaceId),
        { workspaceId, participantId, kind: "contact" },
        { channel: "chat", identifier },
      );
    const group = (...members: (string | { address: string })[]) =>
      createConversation({ db, clock, parseAddress }, agent, { type: "group", members: [agent.userId, ...members] });
    const steps = [
      () => mergeContacts({ db, clock, moveMemberships }, systemOf(workspaceId), a, b),
      () => mergeContacts({ db, clock, moveMemberships }, systemOf(workspaceId), b, a),
      () => number % 3 === 0 && deleteContact({ db, clock, leaveGroups }, systemOf(workspaceId), a),
      () => find(`a-${number}`, `alias-${number}`),
      () => find(`alias-${number}`, `b-${number}`),
      () => add(a, `more-${number}`),
      () => add(b, `alias-${number}`),
      () => findDirect(`a-${number}`),
      () => findDirect(`b-${number}`),
      () => group(a, { address: `chat:b-${number}` }),
      () => group({ address: `chat:more-${number}` }, b),
    ];
    const start = number % steps.length;
    const results = await Promise.allSettled([...steps.slice(start), ...steps.slice(0, start)].map((step) => step()));
    for (const result of results) {
      if (result.status === "rejected" && !honest.includes(result.reason.code)) throw result.reason;
    }
  }
  for (let number = 0; number < 27; number++) await round(number);

  const stranded = await all(
    db,
    `SELECT channel, identifier FROM addresses JOIN participants USING (participant_id) WHERE deleted_at IS NOT NULL
     UNION ALL
     SELECT type, display_name
     FROM members JOIN conversations USING (conversation_id) JOIN participants p USING (participant_id)
       JOIN contacts ON contact_id = participant_id
     WHERE merged_into IS NOT NULL OR (p.deleted_at IS NOT NULL AND type = 'group')`,
  );
  assert.deepEqual(stranded, []);
  const merged = await all<{ contact_id: string }>(db, "SELECT contact_id FROM contacts WHERE merged_into IS NOT NULL");
  assert.ok(merged.length > 0);
  const survivors = await Promise.allSettled(merged.map((row) => getContact(db, workspaceId, row.contact_id)));
  assert.ok(survivors.some((survivor) => survivor.status === "fulfilled"));
});
