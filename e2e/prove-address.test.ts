/** A member can add its own address, but not a customer's. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { ApiError, type Client } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { Person } from "./src/people.ts";
import { anotherWorkspace, type Caller, firstWorkspace, newUser, text, type Workspace } from "./src/workspace.ts";

let hub: TestHub;
let workspace: Workspace;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub());
  workspace = await firstWorkspace(hub);
});

const member = () => newUser(hub, workspace.admin, "member");

async function start({ client, userId }: Caller, address: string): Promise<string> {
  const { status, body } = await client.call<{ verification_id: string; expires_at: string }>(
    "POST",
    `/v1/users/${userId}/addresses`,
    { body: { address } },
  );
  assert.equal(status, 202);
  assert.ok(Date.parse(body.expires_at) > Date.now());
  return body.verification_id;
}

/** The newest code on the phone. */
async function codeOn(person: Person): Promise<string> {
  const codeIn = ({ text, raw }: { text: string | null; raw: unknown }) =>
    /\b\d{6}\b/.exec(text ?? "")?.[0] ?? /"(\d{6})"/.exec(JSON.stringify(raw))?.[1];
  return until("the code has arrived", async () => (await person.received()).map(codeIn).findLast(Boolean));
}

const refusedAs = (status: number, code: string) => (error: unknown) => {
  assert.ok(error instanceof ApiError);
  assert.deepEqual([error.status, error.code], [status, code], error.message);
  return true;
};

test("a user proves an address once, with the code sent there, and then receives its messages", async () => {
  const eva = await member();
  const phone = hub.person("telegram");
  const verification_id = await start(eva, phone.address);
  const code = await codeOn(phone);
  const wrong = code === "000000" ? "000001" : "000000";
  const verify = (given: string) => eva.client.users.verifyAddress(eva.userId, { verification_id, code: given });
  await assert.rejects(verify(wrong), refusedAs(400, "VALIDATION_ERROR"));
  assert.deepEqual((await verify(code)).addresses, [phone.address]);
  await assert.rejects(verify(code), refusedAs(404, "RESOURCE_NOT_FOUND"));
  await hub.client.messages.send({ to: phone.address, payload: text("For Eva") });
  await until("it is there", async () => (await phone.texts()).includes("For Eva"));
  assert.ok(!(await everythingRead(hub.admin)).includes(code), "the API shows the code to no one");
});

// The attack: a member adds a customer's number, and reads her messages.
test("a member who claims a customer's number receives no message of the customer", async () => {
  const mallory = await member();
  const ana = hub.person("telegram", "Ana");
  await ana.writes("My order is late");
  await until("it has arrived", async () => (await everythingRead(hub.admin)).includes("My order is late"));
  await hub.client.messages.send({ to: ana.address, payload: text("We look into it") });
  const verification_id = await start(mallory, ana.address);
  const verify = (code: string) => mallory.client.users.verifyAddress(mallory.userId, { verification_id, code });
  const code = await codeOn(ana);
  const guesses = ["111111", "222222", "333333", "444444"].filter((guess) => guess !== code);
  for (const guess of guesses) await assert.rejects(verify(guess), refusedAs(400, "VALIDATION_ERROR"));
  // Even with the phone in hand: she is a customer, so an admin must decide.
  await assert.rejects(verify(code), (error: unknown) => {
    assert.ok(refusedAs(409, "CONFLICT")(error));
    assert.doesNotMatch(JSON.stringify((error as ApiError).details ?? {}), /[0-9a-f]{8}-/);
    return true;
  });
  await ana.writes("Thank you");
  await until("it has arrived", async () => (await everythingRead(hub.admin)).includes("Thank you"));
  assert.doesNotMatch(await everythingRead(mallory.client), /My order is late|We look into it|Thank you/);
});

test("after five wrong codes the right one is refused too", async () => {
  const eva = await member();
  const phone = hub.person("telegram");
  const verification_id = await start(eva, phone.address);
  const code = await codeOn(phone);
  const verify = (given: string) => eva.client.users.verifyAddress(eva.userId, { verification_id, code: given });
  for (let tries = 0; tries < 5; tries += 1) {
    await assert.rejects(verify(code === "000000" ? "000001" : "000000"), refusedAs(400, "VALIDATION_ERROR"));
  }
  await assert.rejects(verify(code), refusedAs(404, "RESOURCE_NOT_FOUND"));
});

test("a code expires by the database's clock, and works only for its user", async () => {
  const [eva, leo] = [await member(), await member()];
  const phone = hub.person("telegram");
  const verification_id = await start(eva, phone.address);
  const code = await codeOn(phone);
  const body = { verification_id, code };
  await assert.rejects(leo.client.users.verifyAddress(leo.userId, body), refusedAs(404, "RESOURCE_NOT_FOUND"));
  await assert.rejects(leo.client.users.verifyAddress(eva.userId, body), refusedAs(403, "FORBIDDEN"));
  await hub.db.query("UPDATE address_verifications SET expires_at = now() WHERE verification_id = $1", [
    verification_id,
  ]);
  await assert.rejects(eva.client.users.verifyAddress(eva.userId, body), refusedAs(404, "RESOURCE_NOT_FOUND"));
});

test("open codes and codes in an hour are limited, for one user and for one address", async () => {
  const eva = await member();
  for (let sent = 0; sent < 3; sent += 1) await start(eva, hub.person("telegram").address);
  const fourth = () => eva.client.users.addAddress(eva.userId, hub.person("telegram").address);
  await assert.rejects(fourth(), refusedAs(429, "RATE_LIMIT_EXCEEDED"));
  const expire = () => hub.db.query("UPDATE address_verifications SET expires_at = now()");
  await expire();
  for (let sent = 0; sent < 2; sent += 1) await start(eva, hub.person("telegram").address);
  await expire();
  await assert.rejects(fourth(), refusedAs(429, "RATE_LIMIT_EXCEEDED"));

  const victim = hub.person("telegram");
  for (let sent = 0; sent < 3; sent += 1) await start(await member(), victim.address);
  const other = await member();
  await assert.rejects(
    other.client.users.addAddress(other.userId, victim.address),
    refusedAs(429, "RATE_LIMIT_EXCEEDED"),
  );
});

test("a user with ten addresses cannot prove another, but an admin can add one", async () => {
  const eva = await member();
  for (let held = 0; held < 10; held += 1) await hub.admin.users.addAddress(eva.userId, hub.person("telegram").address);
  const eleventh = hub.person("telegram").address;
  await assert.rejects(eva.client.users.addAddress(eva.userId, eleventh), refusedAs(409, "CONFLICT"));
  await hub.admin.users.addAddress(eva.userId, eleventh);
});

// The attack: a stranger registers, tries phone numbers, and learns which are of customers.
test("no response and no limit shows a member who has written to the hub or is known to the platform", async () => {
  const customers = [hub.person("whatsapp", "Ana"), hub.person("telegram", "Bia")];
  for (const customer of customers) await customer.writes("I am a customer");
  await until("they have arrived", async () => {
    return (await everythingRead(hub.admin)).split("I am a customer").length > customers.length;
  });
  for (const [customer, stranger] of [
    [customers[0]!.address, "whatsapp:+5511900000001"],
    [customers[1]!.address, "telegram:9876543210123"],
  ] as const) {
    const answers = [];
    for (const address of [customer, stranger]) {
      const { client, userId } = await member();
      const ask = async () => {
        const path = `/v1/users/${userId}/addresses`;
        const answer = await client
          .call<Record<string, string>>("POST", path, { body: { address } })
          .catch((error: ApiError) => ({ status: error.status, body: { help: error.message } }));
        return { status: answer.status, fields: Object.keys(answer.body), help: answer.body.help };
      };
      answers.push([await ask(), await ask(), await ask(), await ask()]);
    }
    assert.deepEqual(answers[0], answers[1]);
    assert.deepEqual(
      answers[0]!.map(({ status }) => status),
      [202, 202, 202, 429],
    );
    assert.match(answers[0]![0]!.help!, /If no code arrives, write to the hub on \w+ from this address/);
  }
});

test("on a channel without an account the request fails at once and does not count as an attempt", async () => {
  const elsewhere = await anotherWorkspace(hub);
  const { client, userId } = elsewhere.member;
  for (let times = 0; times < 6; times += 1) {
    await assert.rejects(client.users.addAddress(userId, hub.person("telegram").address), refusedAs(422, "NO_ROUTE"));
  }
});

test("a person who has not written recently gets the code in a template, or must write first", async () => {
  const eva = await member();
  const phone = hub.person("whatsapp");
  await start(eva, phone.address);
  assert.deepEqual(await phone.received(), []);
  const { channel_account_id, settings } = await hub.account("whatsapp");
  const verification_template = { name: "one_time_code", language: "pt_BR" };
  await hub.admin.call("PATCH", `/v1/channel-accounts/${channel_account_id}`, {
    body: { settings: { ...settings, verification_template } },
  });
  const verification_id = await start(eva, phone.address);
  const body = { verification_id, code: await codeOn(phone) };
  assert.deepEqual((await eva.client.users.verifyAddress(eva.userId, body)).addresses, [phone.address]);
  assert.equal((await phone.received())[0]!.raw.template.name, "one_time_code");

  // Or the person writes first: no one has replied yet, so the user may have the address.
  const second = hub.person("whatsapp");
  await second.writes("It is me");
  await until("it has arrived", async () => (await everythingRead(hub.admin)).includes("It is me"));
  const again = await start(eva, second.address);
  const proved = await eva.client.users.verifyAddress(eva.userId, {
    verification_id: again,
    code: await codeOn(second),
  });
  assert.deepEqual(proved.addresses, [phone.address, second.address]);
});

/** All that a caller reads of conversations, messages and events. */
async function everythingRead(client: Client): Promise<string> {
  const { data: conversations } = await client.conversations.list({ limit: 200 });
  const messages = await Promise.all(
    conversations.map(({ conversation_id }) => client.conversations.messages(conversation_id, { limit: 200 })),
  );
  const events = (await client.call("GET", "/v1/events?limit=200")).body;
  return JSON.stringify([conversations, messages, events]);
}
