import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { until } from "../../../server/src/testing/until.ts";
import { defaultWhatsAppAccount as account } from "../default-accounts.ts";
import { generate } from "../media/generate.ts";
import { type Driver, openDriver } from "../testing/driver.ts";
import { openReceiver, type Receiver } from "../testing/receiver.ts";

const ana = "+5511999991111";
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const mib = 1 << 20;

test("a business uploads a file, resolves it, downloads it with its token, and deletes it", async () => {
  await using driver = await openDriver();
  const uploaded = await driver.upload("%PDF-1.4 ...", "application/pdf", { filename: "a.pdf" });
  assert.equal(uploaded.status, 200);
  assert.match(uploaded.body.id, /^\d{16}$/);
  const { url, ...about } = (await driver.graph("GET", uploaded.body.id)).body;
  assert.deepEqual(about, {
    messaging_product: "whatsapp",
    mime_type: "application/pdf",
    sha256: sha256("%PDF-1.4 ...").toString("hex"),
    file_size: "12",
    id: uploaded.body.id,
  });
  const file = await download(url);
  assert.deepEqual(
    [file.status, file.headers.get("content-type"), file.headers.get("content-length"), await file.text()],
    [200, "application/pdf", "12", "%PDF-1.4 ..."],
  );
  for (const token of [null, "EAAwrong"]) assert.equal((await download(url, token)).status, 401);
  assert.equal((await download(url.replace(/hash=./, "hash=-"))).status, 404);

  assert.deepEqual((await driver.graph("DELETE", uploaded.body.id)).body, { success: true });
  assert.equal((await driver.graph("GET", uploaded.body.id)).body.error.error_subcode, 33);
  assert.equal((await download(url)).status, 404);
});

test("uploads of a wrong type or size are refused as the platform refuses them", async () => {
  await using driver = await openDriver();
  const bytes = (count: number, type: string) => new Blob([Buffer.alloc(count)], { type });
  const cases: [string, Blob, string, object, number | undefined][] = [
    ["no product", bytes(1, "image/png"), "image/png", { messaging_product: "" }, 100],
    ["an unlisted type", bytes(1, "text/csv"), "text/csv", {}, 100],
    ["no type of the part", bytes(1, ""), "image/png", {}, 100],
    ["nothing", bytes(0, "image/png"), "image/png", {}, 131053],
    ["the largest image", bytes(5 * mib, "image/png"), "image/png", {}, undefined],
    ["too large an image", bytes(5 * mib + 1, "image/png"), "image/png", {}, 131053],
    ["too large an audio", bytes(16 * mib + 1, "audio/ogg"), "audio/ogg", {}, 131053],
    ["too large a sticker", bytes(100 * 1024 + 1, "image/webp"), "image/webp", {}, 131053],
    ["the largest animated sticker", animated(500 * 1024), "image/webp", {}, undefined],
    ["too large an animated sticker", animated(500 * 1024 + 1), "image/webp", {}, 131053],
  ];
  for (const [what, content, type, fields, code] of cases) {
    const reply = await driver.upload(content, type, fields as Record<string, string>);
    assert.equal(reply.status, code === undefined ? 200 : 400, what);
    assert.equal(reply.body.error?.code, code, what);
  }
  const csv = await driver.upload("a,b", "text/csv");
  assert.match(
    csv.body.error.message,
    /following types: audio\/aac, .*video\/3gpp\. Received file of type 'text\/csv'/,
  );
  const noFile = await driver.graph("POST", `${account.phone_number_id}/media`, { messaging_product: "whatsapp" });
  assert.equal(noFile.body.error.code, 131008);
  const broken = await fetch(`${driver.url}/whatsapp/${account.phone_number_id}/media`, {
    method: "POST",
    headers: { authorization: `Bearer ${account.access_token}`, "content-type": "multipart/form-data; boundary=x" },
    body: '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nno end',
  });
  assert.equal(broken.status, 400);
});

test("messages carry uploaded media, and the simulator shows their bytes", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  const { id } = (await driver.upload("%PDF-1.4 ...", "application/pdf", { filename: "uploaded.pdf" })).body;
  await send(driver, "document", { id, filename: "sent.pdf", caption: "look" });
  await send(driver, "document", { id });
  await driver.idle();
  const [first, second] = await driver.messages();
  assert.deepEqual(first?.media, {
    media_id: id,
    mime_type: "application/pdf",
    filename: "sent.pdf",
    bytes: 12,
    sha256: sha256("%PDF-1.4 ...").toString("hex"),
    caption: "look",
  });
  assert.equal(second?.media?.filename, "uploaded.pdf");
  assert.equal(await bytesOf(driver, id), "%PDF-1.4 ...");
  assert.deepEqual(
    statuses(receiver)
      .map(({ status }) => status)
      .sort(),
    ["delivered", "delivered", "read", "read", "sent", "sent"],
  );

  // Deleted media stays readable for tests.
  await driver.graph("DELETE", id);
  assert.equal(await bytesOf(driver, id), "%PDF-1.4 ...");
});

test("a message with unknown, foreign or expired media is refused", async () => {
  let now = Date.UTC(2026, 0, 1);
  const other = { ...account, phone_number_id: "200", access_token: "EAAother" };
  await using driver = await openDriver({ now: () => now, accounts: [account, other] });
  const { id } = (await driver.upload("x", "image/png")).body;
  const refused = async (phone: string, token: string, image: object) => {
    const reply = await fetch(`${driver.url}/whatsapp/${phone}/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ messaging_product: "whatsapp", to: ana, type: "image", image }),
    });
    const { error } = (await reply.json()) as { error: { code: number; message: string } };
    assert.deepEqual([reply.status, error.code], [400, 100]);
    assert.match(error.message, /image\['id'\] is not a valid whatsapp business account media attachment ID/);
  };
  await refused(account.phone_number_id, account.access_token, { id: "1234" });
  await refused("200", "EAAother", { id });
  const foreign = await fetch(`${driver.url}/whatsapp/${id}`, { headers: { authorization: "Bearer EAAother" } });
  assert.equal(foreign.status, 400);
  now += 30 * dayMs - 1;
  assert.equal((await send(driver, "image", { id })).status, 200);
  now += 1;
  await refused(account.phone_number_id, account.access_token, { id });
});

test("a message whose media is of the wrong type fails later with 131053", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  const { id } = (await driver.upload("x", "application/pdf")).body;
  assert.equal((await send(driver, "video", { id })).status, 200);
  await driver.idle();
  assert.deepEqual(failuresOf(receiver), [
    [131053, "Unsupported Video mime type application/pdf. Please use one of video/mp4, video/3gpp"],
  ]);
});

test("URLs live 5 minutes, uploaded ids 30 days and received ids 7 days", async () => {
  let now = Date.UTC(2026, 0, 1);
  await using driver = await openDriver({ now: () => now });
  const uploaded = (await driver.upload("x", "image/png")).body.id;
  const received = await personSends(driver, { content_type: "image/png" });
  const resolve = (id: string) => driver.graph("GET", id);
  const { url } = (await resolve(uploaded)).body;
  now += 5 * minuteMs - 1;
  assert.equal((await download(url)).status, 200);
  now += 1;
  assert.equal((await download(url)).status, 404);
  assert.equal((await download((await resolve(uploaded)).body.url)).status, 200);
  now += 7 * dayMs;
  assert.deepEqual([(await resolve(uploaded)).status, (await resolve(received.id)).status], [200, 400]);
  now += 30 * dayMs;
  assert.equal((await resolve(uploaded)).status, 400);

  await driver.control("POST", "settings", { channel: "whatsapp", time_factor: 100 });
  const fast = (await resolve((await driver.upload("x", "image/png")).body.id)).body.url;
  now += 3_000;
  assert.equal((await download(fast)).status, 404);
});

test("URLs and ids can be made to expire at once", async () => {
  await using driver = await openDriver();
  const ids = [];
  for (const content of ["one", "two"]) ids.push((await driver.upload(content, "image/png")).body.id);
  const [one, two] = ids as [string, string];
  const urlOf = async (id: string) => (await driver.graph("GET", id)).body.url;
  const expire = (body: object) => driver.control("POST", "media/expire", { channel: "whatsapp", ...body });
  const urls = [await urlOf(one), await urlOf(two)] as const;
  assert.equal((await expire({ media_id: one })).status, 204);
  assert.deepEqual([(await download(urls[0])).status, (await download(urls[1])).status], [404, 200]);
  assert.equal((await download(await urlOf(one))).status, 200);
  await expire({});
  assert.equal((await download(urls[1])).status, 404);
  await expire({ media_id: one, what: "media" });
  assert.deepEqual([await urlOf(one), (await download(await urlOf(two))).status], [undefined, 200]);
  await expire({ what: "media" });
  assert.equal(await urlOf(two), undefined);
  assert.equal((await expire({ media_id: "1" })).status, 404);
});

test("the platform fetches a link after it has accepted the message", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  let release = () => {};
  const isReleased = new Promise<void>((resolve) => (release = resolve));
  await using site = await openSite(async (_request, response) => {
    await isReleased;
    response.writeHead(200, { "content-type": "image/png; x=y" }).end("the picture");
  });
  assert.equal((await send(driver, "image", { link: `${site.url}/a.png`, caption: "look" })).status, 200);
  const [waiting] = await driver.messages();
  assert.deepEqual([waiting?.media?.caption, waiting?.media?.bytes], ["look", null]);
  assert.equal((await driver.control("GET", "idle")).body.idle, false);
  release();
  await driver.idle();
  const [message, ...others] = await driver.messages();
  assert.deepEqual([message?.media?.mime_type, message?.media?.bytes, others], ["image/png", 11, []]);
  assert.equal(await bytesOf(driver, message!.media!.media_id!), "the picture");
  assert.deepEqual(
    statuses(receiver).map(({ status }) => status),
    ["sent", "delivered", "read"],
  );
});

test("a link that cannot be fetched fails the message with 131053", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  await using site = await openSite((request, response) => {
    if (request.url === "/gone") response.writeHead(404).end();
    else if (request.url === "/moved") response.writeHead(302, { location: "/a.png" }).end();
    else if (request.url === "/reset") request.socket.destroy();
    else if (request.url === "/large")
      response.writeHead(200, { "content-type": "image/png" }).end(Buffer.alloc(5 * mib + 1));
    else response.writeHead(200, { "content-type": "text/html" }).end("<p>");
  });
  const cases: [string, RegExp][] = [
    ["/gone", /^Downloading media from weblink failed with http code 404, status message Not Found$/],
    ["/reset", /^Downloading media from weblink failed: /],
    ["/large", /^The file is larger than 5242880 bytes\.$/],
    ["/page", /^Unsupported Image mime type text\/html\. Please use one of image\/jpeg, image\/png$/],
    // It does not follow redirects.
    ["/moved", /^Unsupported Image mime type application\/octet-stream/],
  ];
  for (const [path, details] of cases) {
    receiver.received.length = 0;
    assert.equal((await send(driver, "image", { link: site.url + path })).status, 200);
    await driver.idle();
    const [failure, ...others] = failuresOf(receiver);
    assert.deepEqual([failure?.[0], others, statuses(receiver).length], [131053, [], 1], path);
    assert.match(failure![1], details);
  }
  assert.equal((await driver.messages())[0]?.media?.media_id, null);
});

test("a reset while a link is fetched forgets the message", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  let release = () => {};
  await using site = await openSite((_request, response) => {
    release = () => void response.writeHead(200, { "content-type": "image/png" }).end("x");
  });
  await send(driver, "image", { link: site.url });
  await until("the platform fetches the link", () => site.count() === 1);
  await driver.control("POST", "reset");
  release();
  await send(driver, "image", { id: (await driver.upload("y", "image/png")).body.id });
  await driver.idle();
  assert.deepEqual(
    (await driver.messages()).map(({ media }) => media?.bytes),
    [1],
  );
  assert.equal(statuses(receiver).length, 3);
});

test("a person sends files of every kind, and the business downloads them", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  const cases: [object, string, object][] = [
    [{ content_type: "image/jpeg", caption: "look" }, "image", { mime_type: "image/jpeg", caption: "look" }],
    [{ content_type: "audio/ogg" }, "audio", { mime_type: "audio/ogg; codecs=opus", voice: true }],
    [{ content_type: "audio/mpeg", caption: "x" }, "audio", { mime_type: "audio/mpeg", voice: false }],
    [{ content_type: "video/mp4" }, "video", { mime_type: "video/mp4" }],
    [{ content_type: "image/webp" }, "sticker", { mime_type: "image/webp", animated: false }],
    [
      { content_type: "application/pdf", filename: "a.pdf", caption: "c" },
      "document",
      { mime_type: "application/pdf", filename: "a.pdf", caption: "c" },
    ],
    [{ content_type: "image/gif" }, "document", { mime_type: "image/gif" }],
  ];
  for (const [payload, type, expected] of cases) {
    receiver.received.length = 0;
    const { id, sha256: hash, ...about } = await personSends(driver, payload, receiver, type);
    assert.deepEqual(about, expected);
    const resolved = (await driver.graph("GET", id)).body;
    const bytes = Buffer.from(await (await download(resolved.url)).arrayBuffer());
    assert.equal(hash, sha256(bytes).toString("base64"));
    assert.deepEqual([resolved.sha256, resolved.file_size], [sha256(bytes).toString("hex"), String(bytes.length)]);
    assert.ok(resolved.mime_type.startsWith((payload as { content_type: string }).content_type));
  }
  const content = Buffer.from("olá").toString("base64");
  const { id } = await personSends(driver, { content_type: "text/plain", content }, receiver, "document");
  assert.equal(await (await download((await driver.graph("GET", id)).body.url)).text(), "olá");
  // No number uploaded it, so no number may be named.
  const named = await driver.graph("GET", `${id}?phone_number_id=${account.phone_number_id}`);
  assert.match(named.body.error.message, /phone_number_id is not a valid whatsapp business phone number id/);
  const uploaded = (await driver.upload("x", "image/png")).body.id;
  const own = `${uploaded}?phone_number_id=${account.phone_number_id}`;
  assert.equal((await driver.graph("GET", own)).status, 200);
});

test("a person's file has the size that was asked for, and above 100 MB an error takes its place", async () => {
  await using receiver = await openReceiver();
  await using driver = await openDriver({ accounts: [{ ...account, webhook_url: receiver.url }] });
  const { id } = await personSends(driver, { content_type: "image/png", size: 200_000 }, receiver, "image");
  const bytes = Buffer.from(await (await download((await driver.graph("GET", id)).body.url)).arrayBuffer());
  assert.ok(bytes.equals(Buffer.concat([...generate("image/png", 200_000)])));
  assert.equal(bytes.length, 200_000);

  receiver.received.length = 0;
  await personSends(driver, { content_type: "video/mp4", size: 100 * mib + 1 }, receiver);
  await driver.idle();
  const [message] = messagesOf(receiver);
  assert.deepEqual([message.type, message.errors[0].code], ["unsupported", 131052]);
  const both = { type: "file", content_type: "image/png", size: 1, content: "" };
  const refused = await driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload: both });
  assert.equal(refused.status, 400);
});

function send(driver: Driver, type: string, media: object) {
  return driver.graph("POST", `${account.phone_number_id}/messages`, {
    messaging_product: "whatsapp",
    to: ana,
    type,
    [type]: media,
  });
}

/** The media object that the business receives, or nothing without a receiver. */
async function personSends(driver: Driver, payload: object, receiver?: Receiver, type?: string) {
  const webhook = receiver ?? (await openReceiver());
  if (!receiver) await driver.control("POST", "accounts", { ...account, webhook_url: webhook.url });
  const file = { type: "file", ...payload };
  const reply = await driver.control("POST", "inbound", { channel: "whatsapp", from: ana, payload: file });
  assert.equal(reply.status, 201, JSON.stringify(reply.body));
  await driver.idle();
  const message = messagesOf(webhook).at(-1);
  if (!receiver) await webhook.close();
  if (type !== undefined) assert.equal(message.type, type);
  return message[message.type];
}

function messagesOf(receiver: Receiver) {
  return changes(receiver).flatMap((change) => change.value.messages ?? []);
}

function statuses(
  receiver: Receiver,
): { status: string; errors?: { code: number; error_data: { details: string } }[] }[] {
  return changes(receiver).flatMap((change) => change.value.statuses ?? []);
}

function failuresOf(receiver: Receiver): [number, string][] {
  return statuses(receiver).flatMap(({ errors = [] }) => errors.map((error) => [error.code, error.error_data.details]));
}

function changes(receiver: Receiver) {
  return receiver.received.flatMap(({ body }) => JSON.parse(body).entry[0].changes);
}

function download(url: string, token: string | null = account.access_token) {
  return fetch(url, { headers: token === null ? {} : { authorization: `Bearer ${token}` } });
}

async function bytesOf(driver: Driver, id: string): Promise<string> {
  return (await fetch(`${driver.url}/_sim/media/${id}`)).text();
}

function sha256(bytes: string | Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** An extended WebP whose flags say that it is animated. */
function animated(bytes: number): Blob {
  const content = Buffer.alloc(bytes);
  content.write("RIFF\0\0\0\0WEBPVP8X");
  content[20] = 0x02;
  return new Blob([content], { type: "image/webp" });
}

async function openSite(listener: RequestListener) {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    count: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<unknown>((resolve) => server.close(resolve));
    },
  };
}
