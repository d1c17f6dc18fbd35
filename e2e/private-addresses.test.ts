/** With `WEBHOOKS_ALLOW_PRIVATE=false` nothing that users give makes the hub call the machines beside it. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";

const secret = "INTERNAL SECRET";

/** A service of the inside. */
async function openInside() {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.writeHead(418).end(secret);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("the embedded setup refuses private IP addresses of platforms as well, except its own simulator's", async () => {
  await using inside = await openInside();
  const simulatorUrl = `http://127.0.0.1:${await freePort()}`;
  await using place = await openHubPlace({ SIMULATOR_PORT: new URL(simulatorUrl).port });
  const logIn = async () => {
    const admin = openClient({ url: place.url, credential: { username: "admin", password: adminPassword } });
    const { key } = await admin.apiKeys.create({ name: "p", scopes: ["*"] });
    return async (method: string, path: string, body?: object) => {
      const headers = { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }) };
      const answer = await fetch(place.url + path, { method, headers, body: body ? JSON.stringify(body) : null });
      // biome-ignore lint/suspicious/noExplicitAny: a test asserts on the body, of any type
      return { status: answer.status, body: (await answer.json()) as any };
    };
  };
  const account = (botId: number, base_url: string) => ({
    channel: "telegram",
    name: "Inside",
    credentials: { bot_token: `${botId}:AAguide-a-token-of-35-characters---`, secret_token: "any-text" },
    settings: { base_url },
    verify: false,
  });

  const trusting = await startHubProcess(place);
  let call = await logIn();
  const made = await call("POST", "/v1/channel-accounts", account(700000031, inside.url));
  assert.equal(made.status, 201, "allowed unless it is set to false");
  assert.match((await call("POST", `/v1/channel-accounts/${made.body.channel_account_id}/verify`)).body.detail, /418/);
  assert.ok(inside.requests() > 0);
  const plain = await call("POST", "/v1/channel-accounts", account(700000033, "http://platform.example.com"));
  assert.equal(plain.status, 201);
  trusting.kill("SIGTERM");
  await trusting.ended;

  const seen = inside.requests();
  await startHubProcess(place, { WEBHOOKS_ALLOW_PRIVATE: "false" });
  call = await logIn();
  const refused = await call("POST", "/v1/channel-accounts", account(700000032, inside.url));
  assert.deepEqual([refused.status, refused.body.error.details.field], [400, "settings.base_url"]);
  assert.ok(!JSON.stringify(refused.body).includes(secret));
  const moved = await call("PATCH", `/v1/channel-accounts/${made.body.channel_account_id}`, {
    settings: { base_url: `${inside.url}/other` },
    credentials: account(700000031, "").credentials,
  });
  assert.equal(moved.status, 400);
  // One that was connected before.
  const said = (await call("POST", `/v1/channel-accounts/${made.body.channel_account_id}/verify`)).body;
  assert.equal(said.ok, false);
  assert.ok(!JSON.stringify(said).includes(secret), said.detail);
  assert.equal(inside.requests(), seen);
  // Its credentials would be sent without encryption.
  const unsent = (await call("POST", `/v1/channel-accounts/${plain.body.channel_account_id}/verify`)).body;
  assert.match(unsent.detail, /could not be reached: http:\/\/platform\.example\.com is not https/);

  const simulated = (await call("GET", "/v1/channel-accounts?channel=whatsapp")).body.data[0];
  const template = { type: "template", name: "hello_world", language: "en_US", parameters: [] };
  const sent = await call("POST", "/v1/messages", { to: "whatsapp:+5511999991111", payload: template });
  assert.equal(sent.status, 202);
  await until("it arrives", async () => {
    return (await call("GET", `/v1/messages/${sent.body.message_id}`)).body.status !== "accepted";
  });
  const verified = await call("POST", `/v1/channel-accounts/${simulated.channel_account_id}/verify`);
  assert.equal(verified.body.ok, true, verified.body.detail);
});
