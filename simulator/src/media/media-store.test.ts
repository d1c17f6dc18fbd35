import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { until } from "../../../server/src/testing/until.ts";
import { defaultWhatsAppAccount as account } from "../default-accounts.ts";
import { openDriver } from "../testing/driver.ts";
import { openReceiver } from "../testing/receiver.ts";
import { type Media, MediaStore, StoreBusy } from "./media-store.ts";

const about = { channel: "whatsapp", account: "1", kind: "image", mime_type: "image/png", filename: null } as const;
const ana = "+5511999991111";

test("the oldest files are deleted when there are too many, or too many bytes", async () => {
  using folder = openFolder();
  const store = openStore(folder.media, { maxBytes: 100, maxFiles: 3 });
  const keep = async (id: string, bytes: number) => {
    store.keep(await store.write([Buffer.alloc(bytes, id)], 1_000), {
      ...about,
      id,
      isInbound: false,
      expiresAt: null,
    });
  };
  const kept = () => [...store.list()].map(({ id }) => id);
  for (const id of ["a", "b", "c", "d"]) await keep(id, 10);
  assert.deepEqual(kept(), ["b", "c", "d"]);
  await keep("e", 85);
  assert.deepEqual(kept(), ["d", "e"]);
  await keep("e", 90);
  assert.deepEqual(kept(), ["d", "e"]);
  assert.deepEqual(
    readdirSync(folder.media)
      .map((file) => statSync(path.join(folder.media, file)).size)
      .sort(),
    [10, 90],
  );
});

test("a source is read no further than its limit, and an upload that is not kept is deleted", async () => {
  using folder = openFolder();
  const store = openStore(folder.media);
  let chunks = 0;
  function* endless() {
    for (;;) {
      chunks += 1;
      yield Buffer.alloc(10, "x");
    }
  }
  const upload = await store.write(endless(), 25);
  assert.deepEqual([upload.bytes, chunks, readFileSync(store.pathOf(upload)).length], [26, 3, 26]);
  store.discard([upload]);
  store.discard([upload]);
  async function* broken() {
    yield Buffer.from("x");
    throw new Error("cut off");
  }
  await assert.rejects(store.write(broken(), 25), /cut off/);
  assert.deepEqual(readdirSync(folder.media), []);
});

test("only a limited number of files is written at once", async () => {
  using folder = openFolder();
  const store = openStore(folder.media);
  const { promise, resolve } = Promise.withResolvers<void>();
  async function* held() {
    await promise;
    yield Buffer.from("x");
  }
  const writes = Array.from({ length: 32 }, () => store.write(held(), 10));
  await assert.rejects(store.write([], 10), StoreBusy);
  resolve();
  await Promise.all(writes);
  await store.write([], 10);
});

test("files without a folder are in a temporary one, which close deletes", async () => {
  const store = openStore(undefined);
  const file = store.pathOf(await store.write([Buffer.from("x")], 10));
  if (process.platform !== "win32") {
    assert.deepEqual(
      [file, path.dirname(file)].map((one) => statSync(one).mode & 0o777),
      [0o600, 0o700],
    );
  }
  store.close();
  assert.equal(existsSync(path.dirname(file)), false);
});

test("an upload that breaks off leaves no file", async () => {
  using folder = openFolder();
  await using driver = await openDriver({ journal: folder.journal });
  const request = http.request(`${driver.url}/whatsapp/${account.phone_number_id}/media`, {
    method: "POST",
    headers: { authorization: `Bearer ${account.access_token}`, "content-type": "multipart/form-data; boundary=x" },
  });
  request.on("error", () => {});
  request.write('--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n');
  request.write(Buffer.alloc(100_000));
  await until("the file is being written", () => existsSync(folder.media) && readdirSync(folder.media).length === 1);
  request.destroy();
  await until("the file is deleted", () => readdirSync(folder.media).length === 0);
});

test("media survive a restart with their journal, and files that nothing names are deleted", async () => {
  using folder = openFolder();
  let id = "";
  let gone = "";
  {
    await using driver = await openDriver({ journal: folder.journal });
    id = (await driver.upload("kept", "image/png")).body.id;
    gone = (await driver.upload("deleted", "image/png")).body.id;
    await driver.graph("DELETE", gone);
  }
  writeFileSync(path.join(folder.media, crypto.randomUUID()), "of a call that a kill ended");
  writeFileSync(path.join(folder.media, "notes.txt"), "of somebody else");
  for (const _restart of [1, 2]) {
    await using driver = await openDriver({ journal: folder.journal });
    assert.equal((await driver.graph("GET", id)).body.file_size, "4");
    assert.equal((await driver.graph("GET", gone)).status, 400);
    assert.equal(await (await fetch(`${driver.url}/_sim/media/${id}`)).text(), "kept");
    assert.equal(readdirSync(folder.media).length, 3);
  }
  await using driver = await openDriver({ journal: folder.journal });
  await driver.control("POST", "reset");
  assert.deepEqual(readdirSync(folder.media), ["notes.txt"]);
  assert.equal((await fetch(`${driver.url}/_sim/media/${id}`)).status, 404);
});

test("a message whose link was not fetched before a restart fails", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  const accounts = [{ ...account, webhook_url: receiver.url }];
  let now = Date.UTC(2026, 0, 1);
  const site = http.createServer(() => {}).listen(0, "127.0.0.1");
  await until("the site listens", () => site.listening);
  const link = `http://127.0.0.1:${(site.address() as { port: number }).port}/`;
  const options = { journal: folder.journal, accounts, now: () => now };
  {
    await using driver = await openDriver(options);
    const image = { messaging_product: "whatsapp", to: ana, type: "image", image: { link } };
    assert.equal((await driver.graph("POST", `${account.phone_number_id}/messages`, image)).status, 200);
  }
  site.closeAllConnections();
  site.close();
  now += 80_000;
  await using driver = await openDriver(options);
  await driver.idle();
  assert.equal((await driver.messages()).length, 1);
  const statuses = receiver.received.flatMap(({ body }) => JSON.parse(body).entry[0].changes[0].value.statuses);
  assert.deepEqual(
    statuses.map(({ status, errors }) => [status, errors[0].code]),
    [["failed", 131053]],
  );
});

test("the media and receipts of a link that was fetched survive a restart", async () => {
  using folder = openFolder();
  await using receiver = await openReceiver();
  const accounts = [{ ...account, webhook_url: receiver.url }];
  const site = http.createServer((_request, response) => {
    response.writeHead(200, { "content-type": "image/png" }).end("fetched");
  });
  site.listen(0, "127.0.0.1");
  await until("the site listens", () => site.listening);
  const link = `http://127.0.0.1:${(site.address() as { port: number }).port}/`;
  receiver.reply = () => ({ status: 500 });
  {
    await using driver = await openDriver({ journal: folder.journal, accounts });
    const image = { messaging_product: "whatsapp", to: ana, type: "image", image: { link } };
    await driver.graph("POST", `${account.phone_number_id}/messages`, image);
    await until("the link is fetched", async () => (await driver.messages())[0]?.media?.bytes === 7);
  }
  site.closeAllConnections();
  site.close();
  receiver.reply = () => ({ status: 200 });
  for (const statuses of [["sent", "delivered", "read"], []]) {
    receiver.received.length = 0;
    await using driver = await openDriver({ journal: folder.journal, accounts });
    await driver.idle();
    assert.deepEqual(
      (await driver.messages()).map(({ media }) => media?.bytes),
      [7],
    );
    const sent = receiver.received.flatMap(({ body }) => JSON.parse(body).entry[0].changes[0].value.statuses);
    assert.deepEqual([...new Set(sent.map(({ status }) => status))], statuses);
  }
});

function openStore(folder: string | undefined, limits = { maxBytes: 1_000, maxFiles: 100 }): MediaStore {
  return new MediaStore({ folder, now: Date.now, onKept: (_media: Media) => {}, limits });
}

function openFolder(): Disposable & { journal: string; media: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "simulator-"));
  const media = path.join(folder, "journal-media");
  mkdirSync(media);
  return {
    journal: path.join(folder, "journal.jsonl"),
    media,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
