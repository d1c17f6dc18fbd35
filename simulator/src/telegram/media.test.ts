import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { test } from "node:test";
import { Api, InputFile } from "grammy";
import { defaultTelegramAccount as account } from "../default-accounts.ts";
import { generate } from "../media/generate.ts";
import { type Driver, openDriver } from "../testing/driver.ts";

const chat = 123456;
const mib = 1 << 20;
const jpeg = Buffer.concat([...generate("image/jpeg", undefined)]);

test("an unmodified grammY bot uploads files of every kind, and sends them again by their file_id", async () => {
  await using driver = await openDriver();
  const api = apiOf(driver);
  const file = (name: string) => new InputFile(Buffer.from(`bytes of ${name}`), name);
  const photo = await api.sendPhoto(chat, new InputFile(jpeg, "p.jpg"), { caption: "<b>look</b>", parse_mode: "HTML" });
  assert.deepEqual([photo.caption, photo.caption_entities?.[0]?.type], ["look", "bold"]);
  const [small, large] = photo.photo;
  assert.deepEqual([small?.width, large?.width, large?.height, large?.file_size], [90, 8, 8, jpeg.length]);
  const { document } = await api.sendDocument(chat, new InputFile(Readable.from(["by ", "stream"]), "a.pdf"));
  assert.deepEqual([document.file_name, document.mime_type, document.file_size], ["a.pdf", "application/pdf", 9]);
  const { video } = await api.sendVideo(chat, file("v.mp4"));
  const { audio } = await api.sendAudio(chat, file("a.mp3"), { duration: 181 });
  const { voice } = await api.sendVoice(chat, file("v.ogg"));
  assert.deepEqual([video.mime_type, audio.duration, voice.mime_type], ["video/mp4", 181, "audio/ogg"]);

  await api.sendPhoto(chat, large!.file_id);
  await api.sendDocument(chat, document.file_id, { caption: "again" });
  await api.sendVideo(chat, video.file_id);
  const again = await api.sendVoice(chat, voice.file_id);
  assert.deepEqual(again.voice, voice);

  const messages = await driver.messages();
  assert.deepEqual(
    messages.map(({ kind, text, media }) => [kind, text, media?.filename, media?.mime_type]),
    [
      ["photo", "look", "p.jpg", "image/jpeg"],
      ["document", null, "a.pdf", "application/pdf"],
      ["video", null, "v.mp4", "video/mp4"],
      ["audio", null, "a.mp3", "audio/mpeg"],
      ["voice", null, "v.ogg", "audio/ogg"],
      ["photo", null, "p.jpg", "image/jpeg"],
      ["document", "again", "a.pdf", "application/pdf"],
      ["video", null, "v.mp4", "video/mp4"],
      ["voice", null, "v.ogg", "audio/ogg"],
    ],
  );
  const media = messages[1]!.media!;
  assert.deepEqual([media.caption, media.bytes, media.sha256], [null, 9, sha256("by stream")]);
  const shown = await fetch(`${driver.url}/_sim/media/${media.media_id}`);
  assert.equal(await shown.text(), "by stream");
});

test("files of a type that does not fit the method become documents", async () => {
  await using driver = await openDriver();
  const file = new InputFile(Buffer.from("x"), "a.wav");
  const sent = await apiOf(driver).sendAudio(chat, file);
  assert.equal((sent as unknown as { document: { mime_type: string } }).document.mime_type, "audio/wave");
  assert.equal((await driver.messages())[0]?.kind, "document");
});

test("a bot downloads files by the path of getFile, which is valid for an hour", async () => {
  let now = Date.UTC(2026, 0, 1);
  const other = { channel: "telegram", bot_token: `7:${"x".repeat(35)}` };
  await using driver = await openDriver({ now: () => now, accounts: [account, other] });
  const api = apiOf(driver);
  const { document } = await api.sendDocument(chat, new InputFile(Buffer.from("hello"), "a.pdf"));
  const file = await api.getFile(document.file_id);
  assert.match(file.file_path!, /^documents\/file_\d+\.pdf$/);
  assert.deepEqual(await api.getFile(document.file_id), file);
  assert.equal(file.file_size, 5);
  const get = (path: string, token: string = account.bot_token) =>
    fetch(`${driver.url}/telegram/file/bot${token}/${path}`);
  const response = await get(file.file_path!);
  assert.deepEqual(
    [response.status, response.headers.get("content-type"), await response.text()],
    [200, "application/octet-stream", "hello"],
  );
  assert.equal((await get(file.file_path!, "1:x")).status, 401);
  assert.equal((await get(file.file_path!, other.bot_token)).status, 404);
  assert.equal((await get("documents/file_99.pdf")).status, 404);
  const foreign = new Api(other.bot_token, { apiRoot: `${driver.url}/telegram` });
  await assert.rejects(foreign.getFile(document.file_id), /wrong file_id/);
  await assert.rejects(foreign.sendDocument(chat, document.file_id), /wrong file identifier\/HTTP URL specified/);

  now += 60 * 60_000 - 1;
  assert.equal((await get(file.file_path!)).status, 200);
  now += 1;
  assert.equal((await get(file.file_path!)).status, 404);
  await api.getFile(document.file_id);
  assert.equal((await get(file.file_path!)).status, 200);
  await driver.control("POST", "media/expire", { channel: "telegram" });
  assert.equal((await get(file.file_path!)).status, 404);
});

test("invalid files get the platform's own errors", async () => {
  await using driver = await openDriver();
  const api = apiOf(driver);
  const file = (bytes: number, name: string) => new InputFile(Readable.from(generate(typeOfName(name), bytes)), name);
  const { document } = await api.sendDocument(chat, file(9, "a.pdf"));
  const cases: [string, () => Promise<unknown>, string][] = [
    ["an empty file", () => api.sendDocument(chat, file(0, "a.pdf")), "file must be non-empty"],
    ["no file", () => api.sendVideo(chat, ""), "there is no video in the request"],
    ["an unknown id", () => api.sendVideo(chat, "AgACxyz"), "wrong file identifier/HTTP URL specified"],
    ["a document as a photo", () => api.sendPhoto(chat, document.file_id), "can't use file of type Document as Photo"],
    ["no picture", () => api.sendPhoto(chat, file(100, "a.txt")), "IMAGE_PROCESS_FAILED"],
    [
      "a long caption",
      () => api.sendPhoto(chat, file(200, "a.jpg"), { caption: "x".repeat(1025) }),
      "message caption is too long",
    ],
    ["a wide picture", () => api.sendPhoto(chat, picture(9_000, 1_001)), "PHOTO_INVALID_DIMENSIONS"],
    ["a narrow picture", () => api.sendPhoto(chat, picture(21, 1)), "PHOTO_INVALID_DIMENSIONS"],
    [
      "a large photo",
      () => api.sendPhoto(chat, file(10 * mib + 1, "a.jpg")),
      "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes",
    ],
  ];
  for (const [what, call, description] of cases) {
    await assert.rejects(call(), { error_code: 400, description: `Bad Request: ${description}` }, what);
  }
  await assert.rejects(api.sendDocument(chat, file(50 * mib + 1, "a.zip")), { error_code: 413 });
  assert.equal((await api.sendDocument(chat, file(50 * mib, "a.zip"))).document.file_size, 50 * mib);
  assert.equal((await api.sendPhoto(chat, picture(20, 1))).photo.length, 2);
  assert.equal((await api.sendPhoto(chat, file(10 * mib, "a.jpg"))).photo.length, 2);
});

test("the platform fetches files by URL, within its limits", async () => {
  await using driver = await openDriver();
  const api = apiOf(driver);
  const server = createServer((request, response) => {
    const [, type, size] = /^\/(.+)\/(\d+)\//.exec(request.url!)!;
    if (type === "moved") response.writeHead(302, { location: `/image/jpeg/${size}/a.jpg` }).end();
    else if (type === "gone") response.writeHead(404).end();
    else Readable.from(generate(type!, Number(size))).pipe(response.writeHead(200, { "content-type": type! }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${path}`;
  const sent = await api.sendDocument(chat, url("application/pdf/500/a.pdf"));
  assert.deepEqual([sent.document.file_name, sent.document.file_size], ["a.pdf", 500]);
  assert.equal((await api.sendPhoto(chat, url("moved/200/x"))).photo.at(-1)?.file_size, 200);
  const cases: [() => Promise<unknown>, string][] = [
    [() => api.sendDocument(chat, url("gone/1/x")), "failed to get HTTP URL content"],
    [() => api.sendDocument(chat, "http://127.0.0.1:9/a.pdf"), "failed to get HTTP URL content"],
    [() => api.sendDocument(chat, url("text/plain/1/a.txt")), "wrong type of the web page content"],
    [() => api.sendPhoto(chat, url("text/html/1/x")), "wrong type of the web page content"],
    [() => api.sendPhoto(chat, url(`image/jpeg/${5 * mib + 1}/a.jpg`)), "file is too big"],
    [() => api.sendVideo(chat, url(`video/mp4/${20 * mib + 1}/a.mp4`)), "file is too big"],
  ];
  for (const [call, description] of cases) {
    await assert.rejects(call(), { error_code: 400, description: `Bad Request: ${description}` });
  }
  server.closeAllConnections();
  server.close();
});

test("a person sends files, and the bot gets their updates and bytes", async () => {
  await using driver = await openDriver();
  const api = apiOf(driver);
  const files = [
    { content_type: "image/jpeg", caption: "look" },
    { content_type: "audio/ogg" },
    { content_type: "audio/mpeg", filename: "s.mp3" },
    { content_type: "video/mp4", filename: "v.mp4" },
    { content_type: "application/pdf", filename: "a.pdf", content: Buffer.from("%PDF-x").toString("base64") },
    { content_type: "image/gif", filename: "a.gif" },
    { content_type: "video/mp4", size: 20 * mib + 1 },
  ];
  for (const file of files) {
    const payload = { type: "file", ...file };
    const reply = await driver.control("POST", "inbound", { channel: "telegram", from: chat, payload });
    assert.equal(reply.status, 201, JSON.stringify(reply.body));
  }
  const messages = (await api.getUpdates()).map((update) => update.message!);
  const kinds = ["photo", "voice", "audio", "video", "document"] as const;
  assert.deepEqual(
    messages.map((message) => kinds.find((kind) => message[kind] !== undefined)),
    ["photo", "voice", "audio", "video", "document", "document", "video"],
  );
  const [photo, voice, audio, , document, , large] = messages;
  assert.equal(photo?.caption, "look");
  assert.deepEqual(
    photo?.photo?.map(({ width, height }) => [width, height]),
    [
      [90, 67],
      [8, 8],
    ],
  );
  assert.deepEqual([voice?.voice?.mime_type, audio?.audio?.file_name], ["audio/ogg", "s.mp3"]);
  const bytesOf = async (id: string) => {
    const { file_path } = await api.getFile(id);
    const response = await fetch(`${driver.url}/telegram/file/bot${account.bot_token}/${file_path}`);
    return Buffer.from(await response.arrayBuffer());
  };
  assert.equal((await bytesOf(document!.document!.file_id)).toString(), "%PDF-x");
  assert.ok((await bytesOf(photo!.photo!.at(-1)!.file_id)).equals(jpeg));
  const thumbnail = photo!.photo![0]!;
  assert.equal((await bytesOf(thumbnail.file_id)).length, thumbnail.file_size);
  assert.equal(large?.video?.file_size, 20 * mib + 1);
  await assert.rejects(api.getFile(large!.video!.file_id), { description: "Bad Request: file is too big" });
  await api.sendDocument(chat, document!.document!.file_id);
});

function apiOf(driver: Driver): Api {
  return new Api(account.bot_token, { apiRoot: `${driver.url}/telegram` });
}

/** A BMP that is only a header. */
function picture(width: number, height: number): InputFile {
  const header = Buffer.alloc(26);
  header.write("BM");
  header.writeUInt32LE(width, 18);
  header.writeInt32LE(height, 22);
  return new InputFile(header, "a.bmp");
}

function typeOfName(name: string): string {
  return name.endsWith(".jpg") ? "image/jpeg" : "application/octet-stream";
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
