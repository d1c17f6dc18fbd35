/** A PostgreSQL whose administrator does not make the hub a superuser: what its user must be able to do, and that it is enough. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { ApiError } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { startTestServer } from "../server/src/testing/test-server.ts";
import { startTestHub } from "./src/harness.ts";
import { type Owner, openOwner } from "./src/owned-rows.ts";
import { anotherWorkspace, firstWorkspace, text } from "./src/workspace.ts";

const opened = closeAfterTests();
let serverUrl: string;
let superuser: Owner;
before(async () => {
  // Roles belong to a server: one of our own, without any.
  const server = await startTestServer();
  opened.defer(() => server.stop());
  serverUrl = server.url;
  superuser = opened.use(await openOwner(serverUrl));
});

/** A user that owns one database. */
async function createUser(name: string, powers: string): Promise<string> {
  await superuser.all(`CREATE ROLE ${name} LOGIN ${powers} PASSWORD 'for tests'`);
  await superuser.all(`CREATE DATABASE ${name} OWNER ${name}`);
  const url = new URL(serverUrl);
  Object.assign(url, { username: name, password: "for tests", pathname: `/${name}` });
  return url.href;
}

describe("a user that owns its database and creates roles", () => {
  let url: string;
  before(async () => {
    url = await createUser("operator", "CREATEROLE");
  });

  test("is enough: the hub creates its roles and delivers messages", () => smokeTest(url));
  // Another channel: a new simulator gives its messages the same ids.
  test("is enough for the next start too", () => smokeTest(url, "whatsapp"));
});

describe("a user that owns its database and creates nothing", () => {
  let url: string;
  before(async () => {
    url = await createUser("tenant", "NOCREATEROLE");
  });

  test("gets an error that names the roles it needs", async () => {
    await assert.rejects(smokeTest(url), /GRANT chat4all_api TO tenant.*CREATEROLE/s);
  });

  test("is enough once it has them", async () => {
    await superuser.all("GRANT chat4all_api, chat4all_identity, chat4all_pipeline TO tenant");
    await smokeTest(url);
  });
});

/** People write and are written to, workspaces stay apart, and none of it as a superuser. */
async function smokeTest(url: string, channel = "telegram"): Promise<void> {
  await using hub = await startTestHub({ env: { DATABASE_URL: url } });
  const { rows } = await hub.db.query<{ is_superuser: boolean }>(
    "SELECT rolsuper OR rolbypassrls AS is_superuser FROM pg_roles WHERE rolname = session_user",
  );
  assert.equal(rows[0]!.is_superuser, false);

  const [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  const ana = hub.person(channel);
  const sent = await home.agent.client.messages.send({ to: ana.address, payload: text("Hello Ana") });
  await ana.receives(1);
  await ana.writes("Hello you");
  await hub.settled();
  const { data } = await home.agent.client.conversations.messages(sent.conversation_id);
  assert.deepEqual(data.map(({ payload }) => (payload as { text: string }).text).slice(0, 2), [
    "Hello you",
    "Hello Ana",
  ]);
  const { body: events } = await home.admin.client.call<{ data: unknown[] }>("GET", "/v1/events");
  assert.ok(events.data.length >= 3, "it is in the feed");
  const { body: audit } = await home.admin.client.call<{ data: { action: string }[] }>("GET", "/v1/audit-log");
  assert.ok(audit.data.some(({ action }) => action === "session.opened"));

  await assert.rejects(
    abroad.admin.client.conversations.get(sent.conversation_id),
    (error: ApiError) => error instanceof ApiError && error.status === 404,
  );
  assert.deepEqual((await abroad.admin.client.contacts.list()).data, []);
}
