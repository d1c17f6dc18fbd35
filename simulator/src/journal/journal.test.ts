import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { until } from "../../../server/src/testing/until.ts";
import { defaultAccounts, defaultTelegramAccount, defaultWhatsAppAccount } from "../default-accounts.ts";
import { openDriver } from "../testing/driver.ts";
import { openReceiver } from "../testing/receiver.ts";
import { decodeLine, encodeLine, type JournalLine, LineFile } from "./journal.ts";

const ana = "+5511999991111";

test("messages, webhooks, counters and undelivered events survive a restart", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  receiver.reply = () => ({ status: 500 });
  const accounts = [{ ...defaultWhatsAppAccount, webhook_url: receiver.url }, defaultTelegramAccount];
  let before: unknown;
  {
    await using driver = await openDriver({ journal: folder.file, accounts });
    await driver.bot("setWebhook", { url: receiver.url, secret_token: "s3cret" });
    await driver.sendText(ana, 'quotes ",\\"message\\": and 👍', { biz_opaque_callback_data: "m-1" });
    await driver.bot("sendMessage", { chat_id: 5, text: "x" });
    await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "unsent" });
    await driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload: "unsent too" });
    await until("two webhooks arrive", () => receiver.received.length >= 2);
    before = await driver.messages();
  }

  receiver.received.length = 0;
  receiver.reply = () => ({ status: 200 });
  // The accounts are named without their webhooks: the platforms remember those.
  await using driver = await openDriver({ journal: folder.file, accounts: defaultAccounts });
  assert.deepEqual(await driver.messages(), before);
  await driver.idle();
  const bodies = receiver.received.map(({ body }) => body).join("\n");
  for (const text of ["unsent", "unsent too", '"sent"', '"delivered"', '"read"', "m-1"])
    assert.ok(bodies.includes(text), text);
  const next = await driver.control("POST", "inbound", { channel: "telegram", from: 5, payload: "sent now" });
  assert.deepEqual(next.body, { provider_message_id: "3", update_id: 2 });
  assert.equal((await driver.bot("getWebhookInfo")).body.result.url, receiver.url);
  const again = await driver.sendText(ana, "again");
  const ids = (await driver.messages("?channel=whatsapp")).map((message) => message.provider_message_id);
  assert.equal(new Set(ids).size, 2, again.body.messages[0].id);
});

test("waiting webhooks survive any number of restarts", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  receiver.reply = () => ({ status: 500 });
  const accounts = [{ ...defaultWhatsAppAccount, webhook_url: receiver.url }];
  {
    await using driver = await openDriver({ journal: folder.file, accounts });
    await driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload: "unsent" });
    await until("a webhook arrives", () => receiver.received.length >= 1);
  }
  for (const _restart of [1, 2]) {
    await using _driver = await openDriver({ journal: folder.file, accounts });
    assert.equal(readFileSync(folder.file, "utf8").match(/unsent/g)?.length, 1, "compacting keeps what waits, once");
  }
  receiver.received.length = 0;
  receiver.reply = () => ({ status: 200 });
  await using driver = await openDriver({ journal: folder.file, accounts });
  await driver.idle();
  // A request of the earlier start may still arrive: real platforms resend unanswered webhooks too.
  assert.ok(receiver.received.length >= 1);
  for (const request of receiver.received) assert.match(JSON.stringify(request), /unsent/);
});

test("open windows survive a compaction of the file", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  const accounts = [{ ...defaultWhatsAppAccount, webhook_url: receiver.url }, defaultTelegramAccount];
  const options = { journal: folder.file, accounts, enforceWindow: true };
  {
    await using driver = await openDriver(options);
    for (const [channel, from] of Object.entries({ whatsapp: ana, telegram: 5 })) {
      await driver.control("POST", "inbound", { channel, from, payload: "hello" });
    }
  }
  for (const _restart of [1, 2]) {
    await using driver = await openDriver(options);
    receiver.received.length = 0;
    await driver.sendText(ana, "free-form");
    await until("a read receipt arrives", () => receiver.received.some(({ body }) => body.includes('"read"')));
    assert.equal((await driver.bot("sendMessage", { chat_id: 5, text: "hello" })).status, 200);
    await driver.idle();
  }
});

test("a webhook that was delivered is not sent again after a restart", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  const accounts = [{ ...defaultWhatsAppAccount, webhook_url: receiver.url }];
  {
    await using driver = await openDriver({ journal: folder.file, accounts });
    await driver.sendText(ana, "x");
    await driver.idle();
  }
  receiver.received.length = 0;
  await using driver = await openDriver({ journal: folder.file, accounts });
  await driver.idle();
  assert.deepEqual(receiver.received, []);
  assert.equal((await driver.messages()).length, 1);
});

test("an incomplete last line is ignored, and any other broken line stops the start", async () => {
  using folder = openFolder();
  {
    await using driver = await openDriver({ journal: folder.file });
    await driver.sendText(ana, "whole");
  }
  appendFileSync(folder.file, '{"type":"message","index":2,"channel":"whatsapp","acc');
  {
    await using driver = await openDriver({ journal: folder.file });
    assert.equal((await driver.messages()).length, 1);
  }
  appendFileSync(folder.file, "not a line\n");
  await assert.rejects(openDriver({ journal: folder.file }), /line \d+ is not a line of a simulator's journal/);
});

test("a reset leaves no message in the file", async () => {
  using folder = openFolder();
  await using driver = await openDriver({ journal: folder.file });
  await driver.sendText(ana, "forget me");
  assert.match(readFileSync(folder.file, "utf8"), /forget me/);
  await driver.control("POST", "reset");
  const kept = readFileSync(folder.file, "utf8");
  assert.doesNotMatch(kept, /forget me/);
  assert.match(kept, /"type":"account"/);
});

test("lines longer than a chunk are read as they were written", () => {
  using folder = openFolder();
  const message = { index: 7, channel: "whatsapp", account: "1", to: 'a,"message":{', key: "k" };
  const lines: JournalLine[] = [
    {
      type: "message",
      message: { ...message, json: '{"text":"}},\\"message\\":"}' },
      firstNumber: 3,
      promise: { a: 1 },
    },
    { type: "accepted", numbers: [1, 2] },
    { type: "state", channel: "telegram", state: { long: "á".repeat(1 << 20) } },
    { type: "counters", nextIndex: 8, nextNumber: 4 },
  ];
  const file = new LineFile(folder.file);
  for (const line of lines) file.append(encodeLine(line));
  assert.deepEqual([...file.lines()].map(decodeLine), lines);
  file.replace(lines.slice(1).map(encodeLine));
  file.append(encodeLine(lines[0]!));
  assert.deepEqual([...file.lines()].map(decodeLine), [...lines.slice(1), lines[0]]);
  file.close();
});

function openFolder(): Disposable & { file: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "simulator-"));
  return {
    file: path.join(folder, "deep", "journal.jsonl"),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

test(
  "a folder that the journal makes, and the journal, are readable by their owner only",
  { skip: process.platform === "win32" },
  () => {
    using folder = openFolder();
    const file = path.join(path.dirname(folder.file), "data", "deep", "simulator.jsonl");
    const lines = new LineFile(file);
    lines.close();
    const modes = [file, path.dirname(file), path.dirname(path.dirname(file))].map((one) => statSync(one).mode & 0o777);
    assert.deepEqual(modes, [0o600, 0o700, 0o700]);
  },
);
