import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { Webhook } from "standardwebhooks";
import { systemClock } from "../lib/clock.ts";
import { type HttpCall, type HttpClient, HttpError, openHttpClient } from "../lib/http.ts";
import { openSecretBox } from "../lib/secret-box.ts";
import type { SealedEndpoint } from "./endpoint-rows.ts";
import { newWebhookSecret, sealWebhookSecret } from "./secrets.ts";
import { answerCut, sendWebhook } from "./send.ts";

const secretBox = openSecretBox(Buffer.alloc(32, 1));
const [secret, old] = [newWebhookSecret(), newWebhookSecret()];
const body = JSON.stringify({
  type: "message.received",
  timestamp: new Date().toISOString(),
  data: { content: "olá 🎉" },
});
const delivery = { webhook_delivery_id: "0198d6a4-3d2e-8a11-8a2e-0d5a3f1e9b10", body };

function endpoint(changes: Partial<SealedEndpoint> = {}): SealedEndpoint {
  return {
    webhook_endpoint_id: "e",
    url: "https://example.test/hook",
    secret_sealed: sealWebhookSecret(secretBox, "e", secret),
    old_secret_sealed: sealWebhookSecret(secretBox, "e", old),
    old_secret_until: new Date(Date.now() + 60_000),
    ...changes,
  } as SealedEndpoint;
}

test("a request has fifteen seconds in all, and both secrets sign while both are valid", async () => {
  const calls: HttpCall[] = [];
  const http: HttpClient = async (call) => {
    calls.push(call);
    return { status: 200, headers: {}, body: "" };
  };
  const deps = { http, clock: systemClock, secretBox, allowPrivate: false };
  await sendWebhook(deps, endpoint(), delivery);
  await sendWebhook(deps, endpoint({ old_secret_until: new Date(Date.now() - 1) }), delivery);
  const [both, one] = calls;
  assert.equal(both!.timeoutMs, 15_000);
  for (const key of [secret, old]) new Webhook(key).verify(body, both!.headers!);
  new Webhook(secret).verify(body, one!.headers!);
  assert.throws(() => new Webhook(old).verify(body, one!.headers!));
  assert.equal(both!.headers!["webhook-signature"]!.split(" ").length, 2);
});

test("an endpoint that refuses or disconnects is a failure with a reason", async () => {
  const cases: [HttpError, RegExp][] = [
    [new HttpError("connect ECONNREFUSED 93.184.216.34:443", false, null), /ECONNREFUSED/],
    [new HttpError("x".repeat(10_000), true, null), /^x{500}$/],
  ];
  for (const [error, words] of cases) {
    const http: HttpClient = () => Promise.reject(error);
    const outcome = await sendWebhook(
      { http, clock: systemClock, secretBox, allowPrivate: false },
      endpoint(),
      delivery,
    );
    assert.equal(outcome!.isSuccess, false);
    assert.match(outcome!.error!, words);
  }
});

test("only 2xx is a success", async () => {
  for (const status of [200, 201, 204, 299, 100, 199, 300, 304, 400, 404, 409, 410, 429, 500, 599]) {
    const http: HttpClient = async () => ({ status, headers: {}, body: "said so" });
    const outcome = await sendWebhook(
      { http, clock: systemClock, secretBox, allowPrivate: false },
      endpoint(),
      delivery,
    );
    assert.equal(outcome!.isSuccess, status >= 200 && status < 300, String(status));
    assert.equal(outcome!.error === null, outcome!.isSuccess);
    assert.equal(outcome!.answer, "said so");
  }
});

test("ignores a proxy of the environment", async () => {
  let asked = 0;
  const proxy = createServer((_request, response) => {
    asked += 1;
    response.end();
  });
  const receiver = createServer((_request, response) => response.writeHead(204).end());
  for (const server of [proxy, receiver]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const urlOf = (server: typeof proxy) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
  const before = names.map((name) => process.env[name]);
  for (const name of names) process.env[name] = urlOf(proxy);
  const client = openHttpClient({ connectionsPerHost: 1, allowPrivate: true, cut: answerCut });
  const deps = { http: client.http, clock: systemClock, secretBox, allowPrivate: true };
  const outcome = await sendWebhook(deps, endpoint({ url: urlOf(receiver) }), delivery);
  for (const [index, name] of names.entries()) {
    if (before[index] === undefined) delete process.env[name];
    else process.env[name] = before[index];
  }
  await client.close();
  for (const server of [proxy, receiver]) await new Promise((resolve) => server.close(resolve));
  assert.equal(outcome!.statusCode, 204);
  assert.equal(asked, 0);
});
