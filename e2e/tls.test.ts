import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import https from "node:https";
import { text } from "node:stream/consumers";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { openCertificateFolder } from "../server/src/testing/test-certificate.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";

const { test } = testsThatNeed("openssl");

const opened = closeAfterTests();
const folder = opened.use(openCertificateFolder());

test("people, programs and the simulator reach a hub with a certificate by TLS only", async () => {
  const { certFile, keyFile } = folder.make("hub");
  const ca = readFileSync(certFile);
  await using place = await openHubPlace({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile });
  const hub = await startHubProcess(place);
  const url = `https://127.0.0.1:${place.port}`;
  assert.ok(hub.stdout().includes(`API         ${url}`));

  async function call(method: string, path: string, token?: string, body?: object) {
    const headers = {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    return new Promise<{ status: number; body: Record<string, never> }>((resolve, reject) => {
      const request = https.request(url + path, { method, headers, ca, agent: false }, async (answer) =>
        resolve({ status: answer.statusCode!, body: JSON.parse(await text(answer)) }),
      );
      request.once("error", reject);
      request.end(body && JSON.stringify(body));
    });
  }

  const { body: session } = await call("POST", "/auth/token", undefined, {
    username: "admin",
    password: adminPassword,
  });
  const message = { to: "whatsapp:+5511999991111", payload: { type: "text", text: "by TLS" } };
  const accepted = await call("POST", "/v1/messages", session.access_token, message);
  assert.equal(accepted.status, 202);
  // The simulator's receipts come by webhook: to the hub, by TLS.
  await until("the message is delivered", async () => {
    const { body } = await call("GET", `/v1/messages/${accepted.body.message_id}`, session.access_token);
    return ["delivered", "read"].includes(body.status!);
  });
  await assert.rejects(fetch(`http://127.0.0.1:${place.port}/healthz`));
});

test("a hub without its key does not start and prints one sentence", async () => {
  await using place = await openHubPlace({
    TLS_CERT_FILE: "/nowhere/cert.pem",
    TLS_KEY_FILE: "/nowhere/key.pem",
    SIMULATOR_PORT: "0",
  });
  const hub = place.spawn();
  const { code } = await hub.ended;
  assert.equal(code, 1);
  assert.equal(
    hub.stderr().trim().split("\n").at(-1),
    "TLS_CERT_FILE /nowhere/cert.pem cannot be read (ENOENT): give a file that this user may read.",
  );
});
