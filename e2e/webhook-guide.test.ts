import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../server/src/testing/until.ts";
import { startTestHub } from "./src/harness.ts";
import { freePort } from "./src/hub-process.ts";

const guide = readFileSync(new URL("../docs/guides/webhook-endpoints.md", import.meta.url), "utf8");
const root = fileURLToPath(new URL("..", import.meta.url));

test("the receiver of the guide does what the guide says", async () => {
  const [, snippet] = /```js\n([\s\S]*?)```/.exec(guide)!;
  await using hub = await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } });
  const port = await freePort();
  const { webhook_endpoint_id: id, secret } = await hub.client.webhookEndpoints.create({
    url: `http://127.0.0.1:${port}/`,
    events: ["message.received"],
  });
  const receiver = spawn(process.execPath, ["--input-type=module", "--eval", snippet!], {
    cwd: root,
    env: { PATH: process.env.PATH, PORT: String(port), WEBHOOK_SECRET: secret },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    let said = "";
    receiver.stdout.on("data", (chunk) => {
      said += chunk;
    });
    await until(
      "it listens",
      async () => (await fetch(`http://127.0.0.1:${port}/`, { method: "POST" })).status === 400,
    );
    const attempt = await hub.client.webhookEndpoints.test(id);
    assert.equal(attempt.status, "succeeded", attempt.error ?? "");
    await hub.client.webhookEndpoints.replayAttempt(id, attempt.attempt_id);
    await hub.person("whatsapp", "Ana").writes("bom dia");
    await until("the message came", () => said.includes("bom dia"));
    const attempts = async () => (await hub.client.webhookEndpoints.attempts(id)).data;
    await until("all three attempts are written", async () => (await attempts()).length === 3);
    assert.ok((await attempts()).every((one) => one.status_code === 204));
    assert.equal(said.match(/webhook_endpoint\.test/g)?.length, 1, "the replay was known by its id");
  } finally {
    receiver.kill();
    await once(receiver, "exit");
  }
});
