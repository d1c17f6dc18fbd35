/** A message that is sent again with its id and the same `to` gets its first response, wherever the address leads now. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, test } from "node:test";
import type { ApiError, Client, NewMessage } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { connectIdleBot, firstWorkspace, newUser, text, type Workspace } from "./src/workspace.ts";

let hub: TestHub;
let home: Workspace;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
  home = await firstWorkspace(hub);
});

/** Sends it, and returns how it is sent again: alone and in a batch, to the same address and to another one. */
async function send(client: Client, fields: Partial<NewMessage>) {
  const message: NewMessage = { message_id: randomUUID(), payload: text("Your order is ready"), ...fields };
  const { isReplayed, ...answer } = await client.messages.send(message);
  assert.equal(isReplayed, false);
  return async function isRepeated(): Promise<void> {
    const before = await countRows();
    assert.deepEqual(await client.messages.send(message), { ...answer, isReplayed: true });
    assert.deepEqual(await client.messages.sendBatch([message]), [answer]);
    if (message.to === undefined) return;
    const other = client.messages.send({ ...message, to: hub.person("whatsapp").address });
    await assert.rejects(other, ({ status }: ApiError) => [400, 403, 409].includes(status));
    assert.deepEqual(await countRows(), before);
  };
}

async function countRows(): Promise<Record<string, number>> {
  const { rows } = await hub.db.query(
    `SELECT (SELECT count(*) FROM participants) AS participants, (SELECT count(*) FROM conversations) AS conversations,
       (SELECT count(*) FROM messages) AS messages`,
  );
  return rows[0];
}

async function contactAt(address: string): Promise<string> {
  return (await hub.client.contacts.list({ address })).data[0]!.contact_id;
}

test("when the address now leads to another conversation", async () => {
  const { address } = hub.person("whatsapp");
  const isRepeated = await send(home.agent.client, { to: address });
  await hub.client.messages.send({ to: address, payload: text("From the workspace") });
  await isRepeated();
});

test("when its contact was merged into one with another conversation", async () => {
  const [ana, bia] = [hub.person("whatsapp"), hub.person("whatsapp")];
  const isRepeated = await send(hub.client, { to: ana.address });
  await hub.client.messages.send({ to: bia.address, payload: text("Hi") });
  await hub.client.contacts.merge(await contactAt(ana.address), await contactAt(bia.address));
  await isRepeated();
});

test("when its contact was deleted, and when another contact has the address now", async () => {
  const { address } = hub.person("whatsapp");
  const isRepeated = await send(hub.client, { to: address });
  await hub.call("DELETE", `/v1/contacts/${await contactAt(address)}`, home.admin.token);
  await isRepeated();
  await hub.client.contacts.create({ display_name: "Somebody else", addresses: [address] });
  await isRepeated();
});

test("when the recipient, a user, has another address", async () => {
  const { address } = hub.person("whatsapp");
  await hub.admin.users.addAddress(home.outsider.userId, address);
  const member = await newUser(hub, home.admin, "member");
  const isRepeated = await send(member.client, { to: address });
  await hub.call("DELETE", `/v1/users/${home.outsider.userId}/addresses/${address}`, home.admin.token);
  await isRepeated();
});

test("when the account that it named is disabled", async () => {
  const person = hub.person("telegram");
  const account = await connectIdleBot(home);
  const { conversation_id } = await hub.client.messages.send({ to: person.address, payload: text("Hi") });
  const via = { telegram: account };
  const [isRepeated, isRepeatedThere] = [
    await send(hub.client, { to: person.address, via }),
    await send(hub.client, { conversation_id, via }),
  ];
  await hub.call("PATCH", `/v1/channel-accounts/${account}`, home.admin.token, { status: "disabled" });
  await isRepeated();
  await isRepeatedThere();
});
