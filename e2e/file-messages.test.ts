import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { before, test } from "node:test";
import { ApiError, type Client, openClient } from "../client/src/client.ts";
import { all } from "../server/src/lib/query.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { until } from "../server/src/testing/until.ts";
import { generate } from "../simulator/src/media/generate.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import type { InboundPayload, PlatformMessage } from "./src/simulator-client.ts";
import { anotherWorkspace, firstWorkspace, type Workspace } from "./src/workspace.ts";

const mebibyte = 1024 * 1024;
const onWhatsApp = "whatsapp:+5511999991111";
const onTelegram = "telegram:123456789";

const opened = closeAfterTests();
let hub: TestHub;
let home: Workspace;
let client: Client;

before(async () => {
  hub = opened.use(await startTestHub());
  home = await firstWorkspace(hub);
  ({ client } = home.admin);
});

const bytesOf = (contentType: string, size: number) => Buffer.concat([...generate(contentType, size)]);
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function upload(filename: string, bytes: Buffer, by = client): Promise<string> {
  return (await by.files.upload(new Blob([new Uint8Array(bytes)]), { filename })).file_id;
}

const send = (to: string, file_id: string, caption?: string) =>
  client.messages.send({ to, payload: { type: "file", file_id, ...(caption !== undefined && { caption }) } });

/** What the person got after the first `count` messages. */
async function received(address: string, count: number, from: number): Promise<PlatformMessage[]> {
  const [channel, to] = address.split(":") as [string, string];
  return until(`${count} messages reached ${address}`, async () => {
    const own = (await hub.simulator.messages({ channel, to })).slice(from);
    return own.length >= count && own;
  });
}

async function countAt(address: string): Promise<number> {
  const [channel, to] = address.split(":") as [string, string];
  return (await hub.simulator.messages({ channel, to })).length;
}

test("a picture and a document reach the platforms as what they are, with the caption", async () => {
  const picture = bytesOf("image/jpeg", 300_000);
  const photo = await upload("beach.jpg", picture);
  const pdf = bytesOf("application/pdf", 100_000);
  const offer = await upload("offer.pdf", pdf);
  const cases = [
    [onWhatsApp, photo, "image", picture],
    [onTelegram, photo, "photo", picture],
    [onWhatsApp, offer, "document", pdf],
    [onTelegram, offer, "document", pdf],
  ] as const;
  for (const [address, file, kind, bytes] of cases) {
    const before = await countAt(address);
    const { message_id } = await send(address, file, "Olá");
    const [message] = await received(address, 1, before);
    assert.equal(message!.kind, kind);
    assert.deepEqual([message!.media!.sha256, message!.media!.caption], [sha256(bytes), "Olá"]);
    const shown = await until("it is sent", async () => {
      const read = await client.messages.get(message_id);
      return read.deliveries.some(({ provider_message_id }) => provider_message_id !== null) && read;
    });
    assert.partialDeepStrictEqual(shown.file, { file_id: file, size: bytes.length, status: "completed" });
    assert.deepEqual(shown.payload, { type: "file", file_id: file, caption: "Olá" });
  }
});

test("what a platform does not take becomes a link to a page, which preflight foretells", async () => {
  const large = bytesOf("image/jpeg", 6 * mebibyte);
  const cases = [
    [onWhatsApp, await upload("large <b>.jpg", large), large, "large <b>.jpg (6.3 MB)"],
    [
      onWhatsApp,
      await upload("table.csv", Buffer.from("a;b\n1;2\n")),
      Buffer.from("a;b\n1;2\n"),
      "table.csv (8 bytes)",
    ],
  ] as const;
  for (const [to, file_id, bytes, name] of cases) {
    const payload = { type: "file", file_id, caption: "Olhe" } as const;
    const { recipients } = await client.messages.preflight({ to, payload });
    assert.deepEqual(
      recipients.map(({ adaptations }) => adaptations),
      [["sent as link"]],
    );
    const before = await countAt(to);
    await client.messages.send({ to, payload });
    const [message] = await received(to, 1, before);
    assert.equal(message!.kind, "text");
    const [caption, title, url] = message!.text!.split("\n");
    assert.deepEqual([caption, title], ["Olhe", name]);
    const page = await fetch(url!);
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-security-policy")!, /default-src 'none'/);
    const html = await page.text();
    assert.ok(!html.includes("<b>"));
    const download = await fetch(new URL(/href="([^"]+\/download)"/.exec(html)![1]!, url));
    assert.ok(bytes.equals(Buffer.from(await download.arrayBuffer())));
    for (const other of [`${url}0`, `${url!.slice(0, -2)}xx`, url!.replace(/[^/]+$/, randomUUID())]) {
      const refused = await fetch(other);
      assert.equal(refused.status, 404, other);
      assert.match(await refused.text(), /File not found/);
    }
    for (const token of ["%E2%82%AC", "%00", "%0d%0aset-cookie:x", "..%2fdocs"]) {
      const answer = await fetch(`${hub.url}/f/${token}/download`, { redirect: "manual" });
      assert.match(`${answer.status} ${answer.headers.get("location")}`, /^302 \.\.\/[\w%.-]+$/);
    }
    await client.files.remove(file_id);
    assert.equal((await fetch(url!)).status, 404);
    assert.equal(
      (await fetch(`${url}/download`, { redirect: "manual" })).headers.get("location"),
      `../${url!.split("/").at(-1)}`,
    );
  }
});

test("a caption that the platform has no place for comes before the file", async () => {
  const voice = await upload("voice.ogg", bytesOf("audio/ogg", 20_000));
  const before = await countAt(onWhatsApp);
  const { message_id } = await send(onWhatsApp, voice, "Ouça");
  const [text, audio] = await received(onWhatsApp, 2, before);
  assert.deepEqual([text!.kind, text!.text, audio!.kind], ["text", "Ouça", "audio"]);
  const { deliveries } = await until("both parts are read", async () => {
    const read = await client.messages.get(message_id);
    return read.status === "delivered" || read.status === "read" ? read : false;
  });
  assert.deepEqual(deliveries[0]!.provider_message_ids, [text!.provider_message_id, audio!.provider_message_id]);
});

test("a picture that is refused as a picture is sent as a document", async () => {
  const before = await countAt(onTelegram);
  await send(
    onTelegram,
    await upload("broken.jpg", Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), randomBytes(500)])),
  );
  const [message] = await received(onTelegram, 1, before);
  assert.equal(message!.kind, "document");
});

test("a picture, a voice message and a PDF of a person arrive stored, checked, and readable by members only", async () => {
  const cases = [
    ["whatsapp", "+5511988880001", "image/jpeg", undefined, "image.jpg"],
    ["whatsapp", "+5511988880001", "audio/ogg", undefined, "audio.ogg"],
    ["whatsapp", "+5511988880001", "application/pdf", "contrato.pdf", "contrato.pdf"],
    ["telegram", "5550001", "image/jpeg", undefined, "image.jpg"],
    ["telegram", "5550001", "audio/ogg", undefined, "audio.ogg"],
    ["telegram", "5550001", "application/pdf", "contrato.pdf", "contrato.pdf"],
  ] as const;
  for (const [channel, from, content_type, filename, expected] of cases) {
    const content = bytesOf(content_type, 70_000);
    const caption = content_type === "audio/ogg" ? "" : "Veja isto";
    const encoded = content.toString("base64");
    const payload = {
      type: "file",
      content_type,
      content: encoded,
      ...(caption && { caption }),
      ...(filename && { filename }),
    } as const;
    const { provider_message_id } = await hub.simulator.inbound({ channel, from, payload });
    const message = await until("the message is there", () => findReceived(provider_message_id));
    assert.equal(message.payload.caption ?? "", caption);
    const file = await settled(message.payload.file_id);
    assert.partialDeepStrictEqual(file, {
      filename: expected,
      size: content.length,
      content_type,
      status: "completed",
      checksum: sha256(content),
    });
    const { url } = await client.files.download(file.file_id);
    assert.ok(content.equals(Buffer.from(await (await fetch(url)).arrayBuffer())));
    await assert.rejects(home.member.client.files.get(file.file_id), refusal("RESOURCE_NOT_FOUND"));
  }
});

test("what a person sends reaches the members on other channels, with the author's name", async () => {
  const [ana, bea] = await Promise.all(
    [onWhatsApp, onTelegram].map(async (address) => {
      const { data } = await client.contacts.list({ address });
      return data[0] ?? client.contacts.create({ display_name: address, addresses: [address] });
    }),
  );
  const { conversation_id } = await client.conversations.create({
    type: "group",
    title: "Crossing",
    members: [home.admin.userId, ana!.contact_id, bea!.contact_id],
  });
  const before = await countAt(onWhatsApp);
  await client.messages.send({ conversation_id, payload: { type: "text", text: "Mande a foto" } });
  await received(onWhatsApp, 1, before);
  const onBea = (await countAt(onTelegram)) + 0;
  await hub.simulator.break({ channel: "whatsapp", fault: "server_error", call: "download", count: 2 });
  const content = bytesOf("image/jpeg", 50_000);
  const from = onWhatsApp.split(":")[1]!;
  const said = (payload: InboundPayload | string) => hub.simulator.inbound({ channel: "whatsapp", from, payload });
  await said({ type: "file", content_type: "image/jpeg", content: content.toString("base64"), caption: "Aqui" });
  await said("e um texto depois");
  const got = await until("both arrived", async () => {
    const all = await hub.simulator.messages({ channel: "telegram", to: onTelegram.split(":")[1]! });
    const later = all.slice(onBea).filter(({ text, media }) => media !== null || text?.includes("depois"));
    return later.length >= 2 && later;
  });
  assert.deepEqual([got[0]!.kind, got[0]!.media!.sha256], ["photo", sha256(content)]);
  assert.match(got[0]!.media!.caption!, /: Aqui$/);
  assert.match(got[1]!.text!, /: e um texto depois$/);
});

test("what the platform does not give out, or is not what it says, is rejected, and others get its name", async () => {
  const from = "+5511988880002";
  const inbound = async (content_type: string, filename: string, content: Buffer) => {
    const payload = { type: "file", content_type, filename, content: content.toString("base64") } as const;
    const { provider_message_id } = await hub.simulator.inbound({ channel: "whatsapp", from, payload });
    return (await until("the message is there", () => findReceived(provider_message_id))).payload.file_id as string;
  };
  const program = await inbound("application/pdf", "invoice.pdf", Buffer.concat([Buffer.from("MZ"), randomBytes(500)]));
  assert.partialDeepStrictEqual(await settled(program), { status: "rejected", error: { code: "FILE_TYPE_INVALID" } });
  await assert.rejects(client.files.download(program), refusal("CONFLICT"));

  const before = await countAt(onTelegram);
  await hub.simulator.break({ channel: "whatsapp", fault: "server_error", call: "download" });
  const payload = {
    type: "file",
    content_type: "application/pdf",
    filename: "gone.pdf",
    size: 5_000,
    caption: "Veja",
  } as const;
  const { provider_message_id } = await hub.simulator.inbound({
    channel: "whatsapp",
    from: onWhatsApp.split(":")[1]!,
    payload,
  });
  const { file_id } = (await until("the message is there", () => findReceived(provider_message_id))).payload;
  assert.equal((await client.files.get(file_id)).status, "receiving");
  const { message_id } = await until("the delivery waits for the file", async () => {
    const text = "SELECT message_id FROM deliveries WHERE error ->> 'code' = 'FILE_PENDING' AND attempts = 0";
    return (await all<{ message_id: string }>(hub.db, text, []))[0];
  });
  assert.equal((await client.messages.get(message_id)).file!.file_id, file_id);
  await hub.simulator.expireMedia("whatsapp");
  await hub.simulator.repair();
  assert.partialDeepStrictEqual(await settled(file_id), { status: "rejected", error: { code: "FILE_UNAVAILABLE" } });
  const [message] = await received(onTelegram, 1, before);
  assert.match(message!.text!, /: Veja\n\[gone\.pdf\]$/);
});

const refusal = (code: string) => (error: unknown) => error instanceof ApiError && error.code === code;

async function findReceived(providerMessageId: string) {
  const text = "SELECT message_id FROM messages WHERE origin ->> 'provider_message_id' LIKE $1";
  const [row] = await all<{ message_id: string }>(hub.db, text, [`%${providerMessageId}`]);
  return (
    row !== undefined &&
    ((await client.messages.get(row.message_id)) as { payload: { file_id: string; caption?: string } })
  );
}

const settled = (fileId: string) =>
  until("the file is not received any more", async () => {
    const file = await client.files.get(fileId);
    return file.status !== "receiving" && file;
  });

test("only who may read a completed file may send it, and then the members may read it, too", async () => {
  const file_id = await upload("own.txt", Buffer.from("mine"), home.member.client);
  const started = await client.files.initiate({ filename: "started.txt", size: 4 });
  const abroad = await anotherWorkspace(hub);
  const sendBy = (by: Client, id: string) =>
    by.messages.send({ to: onWhatsApp, payload: { type: "file", file_id: id } });
  await assert.rejects(sendBy(client, file_id), refusal("RESOURCE_NOT_FOUND"));
  await assert.rejects(sendBy(client, randomUUID()), refusal("RESOURCE_NOT_FOUND"));
  await assert.rejects(sendBy(client, started.file_id), refusal("CONFLICT"));
  await assert.rejects(sendBy(abroad.admin.client, file_id), refusal("RESOURCE_NOT_FOUND"));

  const { key } = await client.apiKeys.create({ name: "narrow", scopes: ["messages:write"] });
  const narrow = openClient({ url: hub.url, credential: { token: key } });
  await assert.rejects(sendBy(narrow, await upload("a.txt", Buffer.from("a"))), refusal("FORBIDDEN"));

  const { contact_id } = await client.contacts.create({ display_name: "Ana" });
  const { conversation_id } = await client.conversations.create({
    type: "group",
    title: "Readers",
    members: [home.admin.userId, home.member.userId, contact_id],
  });
  await assert.rejects(home.agent.client.files.get(file_id), refusal("RESOURCE_NOT_FOUND"));
  const results = await home.member.client.messages.sendBatch([
    { conversation_id, payload: { type: "file", file_id } },
    { conversation_id, payload: { type: "file", file_id: started.file_id } },
    { conversation_id, payload: { type: "text", text: "after it" } },
  ]);
  assert.deepEqual(
    results.map((result) => result.error?.code ?? result.status),
    ["accepted", "RESOURCE_NOT_FOUND", "accepted"],
  );
  assert.equal((await client.files.get(file_id)).filename, "own.txt");
  await assert.rejects(abroad.admin.client.files.get(file_id), refusal("RESOURCE_NOT_FOUND"));
});

test("a file that is deleted stays in its messages as deleted, and a message that waited with it fails", async () => {
  const file_id = await upload("offer.pdf", bytesOf("application/pdf", 10_000));
  await hub.simulator.break({ channel: "telegram", fault: "down", for_ms: 600_000 });
  const message_id = randomUUID();
  const body = { message_id, to: onTelegram, payload: { type: "file", file_id } } as const;
  const accepted = await client.messages.send(body);
  await until(
    "the platform was tried",
    async () => (await client.messages.get(message_id)).deliveries[0]?.error != null,
  );
  await client.files.remove(file_id);
  assert.deepEqual(await client.messages.send(body), { ...accepted, isReplayed: true });
  await hub.simulator.repair();
  const failed = await until("the message has failed", async () => {
    const read = await client.messages.get(message_id);
    return read.status === "failed" && read;
  });
  assert.equal(failed.deliveries[0]!.error!.code, "FILE_GONE");
  assert.partialDeepStrictEqual(failed.file, { filename: "offer.pdf", status: "deleted" });
});

test("files of people count for the quota, and those beyond it are rejected", async () => {
  await using small = await startTestHub({ env: { FILES_QUOTA: "1MiB" } });
  const contents = [600_000, 600_000].map((size) => bytesOf("application/pdf", size).toString("base64"));
  for (const [index, content] of contents.entries()) {
    const payload = { type: "file", content_type: "application/pdf", filename: "a.pdf", content } as const;
    await small.simulator.inbound({ channel: "whatsapp", from: "+5511988880003", payload });
    await until("it is not received any more", async () => {
      const rows = await all<{ status: string }>(small.db, "SELECT status FROM files ORDER BY file_id", []);
      return rows.length === index + 1 && rows.every(({ status }) => status !== "receiving");
    });
  }
  const rows = await all(small.db, "SELECT status, error ->> 'code' AS code FROM files ORDER BY created_at", []);
  assert.deepEqual(rows, [
    { status: "completed", code: null },
    { status: "rejected", code: "QUOTA_EXCEEDED" },
  ]);
});
