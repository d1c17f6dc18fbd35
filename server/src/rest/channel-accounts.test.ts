import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { before, test } from "node:test";
import { subscribeWebhook } from "../channel-accounts/channel-accounts.ts";
import { bot_token, health, startChannelAccountsHub, telegram, whatsapp } from "../testing/channel-accounts-hub.ts";
import { closeAfterTests } from "../testing/close-after-tests.ts";
import { until } from "../testing/until.ts";

type Hub = Awaited<ReturnType<typeof startChannelAccountsHub>>;
let hub: Hub;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startChannelAccountsHub());
});

async function connect(as: string, more: object = {}) {
  const settings = { base_url: hub.baseUrl("telegram") };
  const body = { channel: "telegram", name: "Shop", credentials: telegram, settings, ...more };
  return hub.call("POST /v1/channel-accounts", as, body);
}

test("connecting a bot sets its webhook on the platform", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { status, body } = await connect(admin);
  assert.equal(status, 201);
  const id = body.channel_account_id;
  assert.deepEqual(body, {
    channel_account_id: id,
    channel: "telegram",
    name: "Shop",
    status: "active",
    attention: null,
    webhook_url: `${hub.publicUrl}/webhooks/telegram/${id}`,
    settings: { base_url: hub.baseUrl("telegram") },
    external_id: "700000001",
    created_at: body.created_at,
    webhook: { ok: true, detail: body.webhook.detail },
  });
  const { webhook: _, ...resource } = body;
  const agent = admin.replace("admin", "agent");
  assert.deepEqual((await hub.call(`GET /v1/channel-accounts/${id}`, agent)).body, resource);
  assert.deepEqual((await hub.call("GET /v1/channel-accounts", agent)).body, { data: [resource], next_cursor: null });
});

test("an account can be created while its platform cannot be reached, and the response says so", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { status, body } = await connect(admin, { settings: { base_url: `${hub.simulator.url}/nowhere` } });
  assert.equal(status, 201);
  assert.equal(body.webhook.ok, false);
});

test("credentials that the platform refuses get 422 with its reason, and nothing is stored", async () => {
  const admin = `${await hub.workspace()} admin`;
  const credentials = { ...telegram, bot_token: "700000009:canary_of_a_wrong_token_35_letters_" };
  const { status, body } = await connect(admin, { credentials });
  assert.deepEqual([status, body.error.code], [422, "CHANNEL_CREDENTIALS_INVALID"]);
  assert.match(body.error.message, /The platform returned 401/);
  assert.doesNotMatch(body.error.message, /canary/);
  assert.deepEqual((await hub.call("GET /v1/channel-accounts", admin)).body.data, []);
  assert.equal((await connect(admin, { credentials, verify: false })).status, 201);
});

test("one credential can be changed without the others, unless base_url changes too", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const path = `PATCH /v1/channel-accounts/${body.channel_account_id}`;
  const credentials = { secret_token: "another-secret-token" };
  assert.equal((await hub.call(path, admin, { credentials })).status, 200);
  const account = await hub.accounts.get(body.channel_account_id);
  assert.deepEqual(account?.credentials, { bot_token, ...credentials });
  const settings = { base_url: `${hub.simulator.url}/elsewhere` };
  assert.equal((await hub.call(path, admin, { credentials, settings })).status, 400);
});

// Both read the account before either changes it. Together they would send the stored token to the new address.
test("two changes at once do not send stored credentials elsewhere", async () => {
  const admin = `${await hub.workspace()} admin`;
  const settings = { base_url: hub.baseUrl("whatsapp") };
  const { body } = await connect(admin, { channel: "whatsapp", credentials: whatsapp, settings, verify: false });
  const path = `PATCH /v1/channel-accounts/${body.channel_account_id}`;
  const other = { ...whatsapp, access_token: "canary-of-another", app_secret: "another" };
  const elsewhere = { base_url: `${hub.simulator.url}/elsewhere` };
  const client = await hub.db.connect();
  await client.query("BEGIN");
  await client.query("SELECT FROM channel_accounts WHERE channel_account_id = $1 FOR UPDATE", [
    body.channel_account_id,
  ]);
  const waiting = (count: number) =>
    until(`${count} wait`, async () => {
      const text =
        "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
      return (await hub.db.query<{ n: number }>(text)).rows[0]!.n === count;
    });
  const first = hub.call(path, admin, { settings: elsewhere, credentials: other, verify: false });
  await waiting(1);
  const second = hub.call(path, admin, { credentials: { verify_token: "canary-new" }, verify: false });
  await waiting(2);
  await client.query("COMMIT");
  client.release();
  assert.deepEqual([(await first).status, (await second).status], [200, 409]);
  const account = await hub.accounts.get(body.channel_account_id);
  assert.deepEqual([account?.settings.base_url, account?.credentials], [elsewhere.base_url, other]);
});

test("verify says whether the credentials work, and sets the webhook", async () => {
  const admin = `${await hub.workspace()} admin`;
  const settings = { base_url: hub.baseUrl("whatsapp") };
  const made = await connect(admin, { channel: "whatsapp", credentials: whatsapp, settings });
  // The platform makes sure of the address while the account is being made: it must be there already.
  assert.equal(made.body.webhook.ok, true, made.body.webhook.detail);
  const verify = `POST /v1/channel-accounts/${made.body.channel_account_id}/verify`;
  const works = await hub.call(verify, admin);
  assert.equal(works.status, 200);
  assert.deepEqual([works.body.ok, works.body.webhook.ok], [true, true]);
  const credentials = { ...whatsapp, access_token: "EAArevoked" };
  const change = `PATCH /v1/channel-accounts/${made.body.channel_account_id}`;
  const refused = await hub.call(change, admin, { credentials });
  assert.deepEqual([refused.status, refused.body.error.code], [422, "CHANNEL_CREDENTIALS_INVALID"]);
  assert.equal((await hub.call(verify, admin)).body.ok, true, "credentials that the platform refused were stored");
  await hub.call(change, admin, { credentials, verify: false });
  const broken = await hub.call(verify, admin);
  assert.deepEqual([broken.body.ok, broken.body.webhook.ok], [false, false]);
});

test("credentials are encrypted at rest, and the pipeline can read them", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const row = await hub.db.query("SELECT * FROM channel_accounts WHERE channel_account_id = $1", [
    body.channel_account_id,
  ]);
  assert.doesNotMatch(row.rows[0].credentials_sealed.toString("latin1"), /canary|bot_token/);
  assert.partialDeepStrictEqual(await hub.accounts.get(body.channel_account_id), {
    channel: "telegram",
    credentials: telegram,
    status: "active",
    workspaceId: admin.split(" ")[0],
    version: 1,
  });
});

test("a wrong credential is named and never repeated", async () => {
  const admin = `${await hub.workspace()} admin`;
  const cases: [credentials: object, field: string][] = [
    [{ bot_token }, "credentials.secret_token"],
    [{ ...telegram, bot_tokn: "canary" }, "credentials.bot_tokn"],
    [{ ...telegram, bot_token: "canary/../x" }, "credentials.bot_token"],
    [{ ...telegram, secret_token: "canary" }, "credentials.secret_token"],
    [{ ...telegram, secret_token: 7 }, "credentials.secret_token"],
  ];
  for (const [credentials, field] of cases) {
    const { status, body } = await connect(admin, { credentials });
    assert.deepEqual([status, body.error.code, body.error.details.field], [400, "VALIDATION_ERROR", field]);
  }
});

test("rejects unknown settings and private IP addresses", async () => {
  const admin = `${await hub.workspace()} admin`;
  for (const settings of [
    { base_url: "http://127.0.0.1:1" },
    { base_url: "http://169.254.169.254/latest" },
    { base_url: `${hub.baseUrl("telegram")}/` },
    { rate_per_second: 0 },
    { rate_per_second: -1 },
    { api_version: "25" },
    { ratePerSecond: 1 },
  ]) {
    const { status, body } = await connect(admin, { settings });
    assert.deepEqual([status, body.error.code], [400, "VALIDATION_ERROR"], JSON.stringify(settings));
  }
  const unknown = await connect(admin, { channel: "pigeon" });
  assert.deepEqual([unknown.status, unknown.body.error.details.field], [400, "channel"]);
});

test("a bot can be connected once in a workspace", async () => {
  const admin = `${await hub.workspace()} admin`;
  const first = await connect(admin);
  assert.deepEqual([(await connect(admin)).status, (await connect(admin)).body.error.code], [409, "CONFLICT"]);
  assert.equal((await connect(`${await hub.workspace()} admin`)).status, 201);
  await hub.call(`DELETE /v1/channel-accounts/${first.body.channel_account_id}`, admin);
  assert.equal((await connect(admin)).status, 201);
});

test("a change takes effect at once in this process, and soon in others", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const id = body.channel_account_id;
  await hub.accounts.get(id);
  const path = `/v1/channel-accounts/${id}`;
  const credentials = { ...telegram, secret_token: "canary-rotated" };
  const settings = { rate_per_second: 5 };
  const changed = await hub.call(`PATCH ${path}`, admin, { name: "Loja", status: "disabled", credentials, settings });
  assert.partialDeepStrictEqual(changed.body, { name: "Loja", status: "disabled", settings });
  const expected = { name: "Loja", status: "disabled", credentials, settings, version: 2 };
  assert.partialDeepStrictEqual(await hub.accounts.get(id), expected);
  assert.partialDeepStrictEqual(await hub.openSibling().get(id), expected);
  const renamed = await hub.call(`PATCH ${path}`, admin, { name: "Shop" });
  assert.partialDeepStrictEqual(renamed.body, { name: "Shop", status: "disabled", settings });
});

// What the platform refused may have been repaired while the response was on its way.
test("a refusal by the platform counts only for the credentials that were refused, and only for an active account", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const path = `/v1/channel-accounts/${body.channel_account_id}`;
  const accountNow = async () => (await hub.accounts.get(body.channel_account_id))!;
  const refuse = (account: Awaited<ReturnType<typeof accountNow>>) =>
    hub.accounts.needsAttention(account, { reason: "CREDENTIALS_INVALID", detail: "401: Unauthorized" });
  const asked = await accountNow();
  await hub.call(`PATCH ${path}`, admin, { credentials: telegram });
  assert.equal(await refuse(asked), false);
  assert.equal((await accountNow()).status, "active");
  const repaired = await accountNow();
  assert.equal(await refuse(repaired), true);
  assert.equal(await refuse(repaired), false);
  assert.equal((await accountNow()).status, "needs_attention");
  await hub.call(`PATCH ${path}`, admin, { status: "disabled" });
  assert.equal(await refuse(await accountNow()), false);
  assert.equal((await accountNow()).status, "disabled");
});

// Once 100 read marks that a platform refused were 100 transactions, which waited for each other with all connections.
test("many refusals at once are one transaction", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const account = (await hub.accounts.get(body.channel_account_id))!;
  const refuse = () => hub.accounts.needsAttention(account, { reason: "CREDENTIALS_INVALID", detail: "401" });
  let refused: boolean[] = [];
  const connections = await hub.countConnections(async () => {
    refused = await Promise.all(Array.from({ length: 100 }, refuse));
  });
  assert.equal(refused.filter((isNew) => isNew).length, 1);
  assert.equal(connections, 1);
  assert.equal(await refuse(), false);
});

// Otherwise an admin, or an admin's key, could direct credentials that it does not know to its own machine.
test("changing base_url needs all credentials again, so that stored ones are not sent to another host", async () => {
  const admin = `${await hub.workspace()} admin`;
  const base_url = hub.baseUrl("telegram");
  const { body } = await connect(admin, { settings: { base_url } });
  const path = `PATCH /v1/channel-accounts/${body.channel_account_id}`;
  for (const settings of [{ base_url: `${hub.simulator.url}/elsewhere` }, {}, { rate_per_second: 5 }]) {
    const refused = await hub.call(path, admin, { settings });
    assert.deepEqual(
      [refused.status, refused.body.error.details.field],
      [400, "credentials"],
      JSON.stringify(settings),
    );
  }
  assert.equal((await hub.call(path, admin, { settings: { base_url, rate_per_second: 5 } })).status, 200);
  const turned = { settings: { base_url: `${hub.simulator.url}/elsewhere` }, credentials: telegram };
  assert.equal((await hub.call(path, admin, turned)).body.settings.base_url, turned.settings.base_url);
});

test("verification follows no redirects: credentials are sent to base_url only", async (t) => {
  const asked: string[] = [];
  const elsewhere = createServer((request, response) => {
    asked.push(request.url!);
    response.end("{}");
  });
  const redirecting = createServer((request, response) => {
    response.writeHead(307, { location: `${urlOf(elsewhere)}${request.url}` }).end();
  });
  for (const server of [elsewhere, redirecting]) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => server.close());
  }
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const id = body.channel_account_id;
  await hub.db.query("UPDATE channel_accounts SET settings = $2, version = version + 1 WHERE channel_account_id = $1", [
    id,
    { base_url: urlOf(redirecting) },
  ]);
  const name = { name: "Changed" };
  await hub.call(`PATCH /v1/channel-accounts/${id}`, admin, name);
  const verified = await hub.call(`POST /v1/channel-accounts/${id}/verify`, admin);
  assert.deepEqual([verified.body.ok, asked], [false, []]);
});

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("an account cannot become another number or bot", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const credentials = { ...telegram, bot_token: bot_token.replace("700000001", "700000002") };
  const refused = await hub.call(`PATCH /v1/channel-accounts/${body.channel_account_id}`, admin, { credentials });
  assert.deepEqual([refused.status, refused.body.error.details.field], [400, "credentials"]);
});

test("deleting an account removes it for clients and the pipeline, and deletes its credentials", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const id = body.channel_account_id;
  await hub.accounts.get(id);
  const path = `/v1/channel-accounts/${id}`;
  assert.deepEqual(await hub.call(`DELETE ${path}`, admin), { status: 204, body: null });
  assert.equal(await hub.accounts.get(id), null);
  for (const target of [`GET ${path}`, `GET ${path}/health`, `DELETE ${path}`, `POST ${path}/verify`]) {
    assert.equal((await hub.call(target, admin)).status, 404, target);
  }
  assert.equal((await hub.call(`PATCH ${path}`, admin, { name: "x" })).status, 404);
  const { rows } = await hub.db.query("SELECT credentials_sealed FROM channel_accounts WHERE channel_account_id = $1", [
    id,
  ]);
  assert.equal(rows[0].credentials_sealed.length, 0);
});

test("nothing of one workspace is visible to another", async () => {
  const { body } = await connect(`${await hub.workspace()} admin`);
  const stranger = `${await hub.workspace()} admin`;
  const path = `/v1/channel-accounts/${body.channel_account_id}`;
  for (const target of [`GET ${path}`, `GET ${path}/health`, `DELETE ${path}`, `POST ${path}/verify`]) {
    assert.equal((await hub.call(target, stranger)).status, 404, target);
  }
  assert.equal((await hub.call(`PATCH ${path}`, stranger, { name: "mine" })).status, 404);
  assert.deepEqual((await hub.call("GET /v1/channel-accounts", stranger)).body.data, []);
});

test("agents can read but not change accounts, members neither", async () => {
  const workspaceId = await hub.workspace();
  const { body } = await connect(`${workspaceId} admin`);
  const path = `/v1/channel-accounts/${body.channel_account_id}`;
  assert.equal((await connect(`${workspaceId} agent`)).status, 403);
  for (const target of [`DELETE ${path}`, `POST ${path}/verify`]) {
    assert.equal((await hub.call(target, `${workspaceId} agent`)).status, 403);
  }
  assert.equal((await hub.call(`GET ${path}`, `${workspaceId} member`)).status, 403);
  assert.equal((await hub.call("GET /v1/channel-accounts", `${workspaceId} member`)).status, 403);
});

test("the list is paged, newest first, and can be filtered by channel", async () => {
  const admin = `${await hub.workspace()} admin`;
  const ids: string[] = [];
  for (const n of [1, 2, 3]) {
    const credentials = { ...telegram, bot_token: bot_token.replace("700000001", `70000000${n}`) };
    ids.unshift((await connect(admin, { credentials, verify: false })).body.channel_account_id);
  }
  const first = await hub.call("GET /v1/channel-accounts?limit=2", admin);
  const second = await hub.call(`GET /v1/channel-accounts?limit=2&cursor=${first.body.next_cursor}`, admin);
  const shown = [...first.body.data, ...second.body.data].map((each) => each.channel_account_id);
  assert.deepEqual([shown, second.body.next_cursor], [ids, null]);
  assert.deepEqual((await hub.call("GET /v1/channel-accounts?channel=whatsapp", admin)).body.data, []);
});

test("health is what the deliverer reports", async () => {
  const admin = `${await hub.workspace()} admin`;
  const { body } = await connect(admin);
  const answer = await hub.call(`GET /v1/channel-accounts/${body.channel_account_id}/health`, admin);
  assert.deepEqual(answer, { status: 200, body: health });
});

test("an account becomes active again only with credentials that the platform accepts", async () => {
  const admin = `${await hub.workspace()} admin`;
  const credentials = { ...telegram, bot_token: "700000009:canary_of_a_wrong_token_35_letters_" };
  const { body } = await connect(admin, { credentials, verify: false });
  const change = `PATCH /v1/channel-accounts/${body.channel_account_id}`;
  assert.equal((await hub.call(change, admin, { status: "disabled" })).body.status, "disabled");
  const refused = await hub.call(change, admin, { status: "active" });
  assert.deepEqual([refused.status, refused.body.error.code], [422, "CHANNEL_CREDENTIALS_INVALID"]);
  assert.match(refused.body.error.message, /\. Correct the credentials/, "two sentences");
  assert.equal((await hub.call(change.replace("PATCH", "GET"), admin)).body.status, "disabled");
  assert.equal((await hub.call(change, admin, { status: "active", verify: false })).body.status, "active");
});

// Its own app secret or secret token may be wrong: then the account that receives now would get nothing more.
test("an account that is not verified does not take over the platform's webhook", async () => {
  const webhookOf = async () => {
    const answer = await fetch(`${hub.baseUrl("telegram")}/bot${bot_token}/getWebhookInfo`);
    return ((await answer.json()) as { result: { url: string } }).result.url;
  };
  const first = await connect(`${await hub.workspace()} admin`);
  assert.equal(await webhookOf(), first.body.webhook_url);
  const other = `${await hub.workspace()} admin`;
  const second = await connect(other, { credentials: { ...telegram, secret_token: "another-secret" }, verify: false });
  assert.deepEqual([second.status, second.body.webhook.ok], [201, false]);
  assert.match(second.body.webhook.detail, /not verified.*verify sets it/);
  assert.equal(await webhookOf(), first.body.webhook_url);
  await hub.call(`POST /v1/channel-accounts/${second.body.channel_account_id}/verify`, other);
  assert.equal(await webhookOf(), second.body.webhook_url);
});

// Otherwise nobody learns why an account received nothing, and the two hubs take the webhook from each other again.
for (const channel of ["telegram", "whatsapp"]) {
  test(`verify says from whom it took the webhook back (${channel})`, async () => {
    const more = {
      channel,
      credentials: channel === "telegram" ? telegram : whatsapp,
      settings: { base_url: hub.baseUrl(channel) },
    };
    const [admin, other] = [`${await hub.workspace()} admin`, `${await hub.workspace()} admin`];
    const { body } = await connect(admin, more);
    const verify = async () =>
      (await hub.call(`POST /v1/channel-accounts/${body.channel_account_id}/verify`, admin)).body.webhook;
    assert.doesNotMatch((await verify()).detail, /Until now/);
    assert.equal((await connect(other, more)).body.webhook.ok, true);
    const { ok, detail } = await verify();
    assert.equal(ok, true);
    assert.match(
      detail,
      /\. Until now it sent them to another channel account of this hub, which gets no more of them\.$/,
    );
    assert.doesNotMatch((await verify()).detail, /Until now/);
    await using elsewhere = await startEcho();
    const account = (await hub.accounts.get(body.channel_account_id))!;
    await subscribeWebhook(account, elsewhere.url, hub.io);
    const taken = await verify();
    assert.ok(
      taken.detail.includes(`Until now it sent them to ${new URL(elsewhere.url).host}, which gets`),
      taken.detail,
    );
  });
}

/** Another program, which takes part in the platform's handshake. */
async function startEcho() {
  const server = createServer((request, response) => {
    response.end(new URL(request.url!, "http://hub").searchParams.get("hub.challenge") ?? "");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path`,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}
