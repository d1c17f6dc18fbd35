import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../server/src/lib/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub } from "./src/harness.ts";

const guide = readFileSync(new URL("../docs/guides/webhook-endpoints.md", import.meta.url), "utf8");
const root = fileURLToPath(new URL("..", import.meta.url));

test("the receiver of the guide and its bot do what the guide says", async () => {
  const [snippet, answer] = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code!);
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
    const ana = hub.person("whatsapp", "Ana");
    await ana.writes("bom dia");
    const line = await until("the message came", () => /^.*"bom dia".*\n/m.exec(said)?.[0]);
    const { key } = await hub.admin.apiKeys.create({ name: "bot", scopes: ["messages:write"] });
    const bot = spawn(
      process.execPath,
      ["--input-type=module", "--eval", `${answer}; await answer(JSON.parse(process.env.EVENT).data);`],
      { env: { HUB: hub.url, KEY: key, EVENT: line }, stdio: "inherit" },
    );
    assert.deepEqual(await once(bot, "exit"), [0, null]);
    assert.equal((await ana.receives(1))[0]!.text, "Ana, you wrote: bom dia");
    const attempts = async () => (await hub.client.webhookEndpoints.attempts(id)).data;
    await until("all three attempts are written", async () => (await attempts()).length === 3);
    assert.ok((await attempts()).every((one) => one.status_code === 204));
    assert.equal(said.match(/webhook_endpoint\.test/g)?.length, 1, "the replay was known by its id");
  } finally {
    receiver.kill();
    await once(receiver, "exit");
  }
});
