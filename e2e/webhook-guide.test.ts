import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { linkCheckout, readBlocks, readPage } from "./src/guide.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { firstWorkspace, newUser } from "./src/workspace.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const blocks = readBlocks(readPage(root, "docs/guides/webhook-endpoints.md"));

/** The block whose first line begins so. */
function blockOf(start: string): string {
  const block = blocks.find(({ name }) => name.startsWith(start));
  assert.ok(block, `no block begins with ${start}`);
  return block.text;
}

const receiver = blocks.find(({ file }) => file === "receiver.mjs")!.text;
const bot = receiver.replace(/^async function handle[\s\S]*?^\}$/m, () => blockOf("async function handle("));

let hub: TestHub;
let folder: string;
const opened = closeAfterTests();
before(async () => {
  hub = opened.use(await startTestHub({ env: { WEBHOOKS_ALLOW_PRIVATE: "true" } }));
  folder = mkdtempSync(join(realpathSync(tmpdir()), "chat4all-webhook-guide-"));
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  linkCheckout(root, folder);
});

/** Saves the program as the guide says, connects it, and starts it with the guide's command. */
async function start(program: string, command: string, env: Record<string, string> = {}) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const { webhook_endpoint_id: id, secret } = await hub.client.webhookEndpoints.create({
    url,
    events: ["message.received"],
  });
  writeFileSync(join(folder, "receiver.mjs"), program);
  const child = spawn("bash", ["-c", `exec env ${command}`], {
    cwd: folder,
    env: { ...env, PATH: `${dirname(process.execPath)}:${process.env.PATH}`, PORT: String(port), SECRET: secret },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  await until("it listens", async () => (await fetch(url, { method: "POST" })).status === 400);
  return {
    id,
    said: () => said,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    statuses: async () => (await hub.client.webhookEndpoints.attempts(id)).data.map((one) => one.status_code),
    async [Symbol.asyncDispose]() {
      child.kill();
      await exited;
      await hub.client.webhookEndpoints.remove(id);
    },
  };
}

test("the receiver of the guide prints each event once", async () => {
  await using program = await start(receiver, blockOf("WEBHOOK_SECRET=$SECRET"));
  const attempt = await hub.client.webhookEndpoints.test(program.id);
  assert.equal(attempt.status, "succeeded", attempt.error ?? "");
  await hub.client.webhookEndpoints.replayAttempt(program.id, attempt.attempt_id);
  await hub.person("whatsapp", "Ana").writes("bom dia");
  await until("the message is printed", () => program.said().includes('"bom dia"'));
  await until("all three attempts are written", async () => (await program.statuses()).length === 3);
  assert.deepEqual(await program.statuses(), [204, 204, 204]);
  assert.equal(program.said().match(/webhook_endpoint\.test/g)?.length, 1, "the replay was known by its id");
});

test("the bot of the guide replies, and keeps running when the hub refuses the reply: the retry succeeds", async () => {
  const { admin } = await firstWorkspace(hub);
  const agent = await newUser(hub, admin, "agent");
  const { key } = await agent.client.apiKeys.create({ name: "bot", scopes: ["messages:write"] });
  await using program = await start(bot, blockOf("HUB=$HUB KEY=$KEY WEBHOOK_SECRET="), { HUB: hub.url, KEY: key });
  const ana = hub.person("whatsapp", "Ana");
  await ana.writes("bom dia");
  assert.equal((await ana.receives(1))[0]!.text, "Ana, you wrote: bom dia");

  await hub.admin.users.change(agent.userId, { disabled: true });
  await ana.writes("boa tarde");
  await until("the hub saw the failure", async () => (await program.statuses()).includes(500));
  assert.ok(program.isRunning(), program.said());
  assert.match(program.said(), /The hub returned 401/);

  await hub.admin.users.change(agent.userId, { disabled: false });
  assert.equal((await ana.receives(2))[1]!.text, "Ana, you wrote: boa tarde");
  await until("the retry is written", async () => (await program.statuses()).length === 3);
  assert.deepEqual((await program.statuses()).toSorted(), [204, 204, 500]);
});

test("the receiver of the guide keeps running when a client disconnects in the middle of a body", async () => {
  await using program = await start(receiver, blockOf("WEBHOOK_SECRET=$SECRET"));
  const { url } = await hub.client.webhookEndpoints.get(program.id);
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.end("POST / HTTP/1.1\r\nhost: receiver\r\ncontent-length: 100\r\n\r\n{");
  await once(socket.resume(), "close");
  assert.equal((await hub.client.webhookEndpoints.test(program.id)).status, "succeeded");
  assert.ok(program.isRunning(), program.said());
});
