import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { ApiError, type File } from "../client/src/client.ts";
import { removeObjects } from "../server/src/files/files.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { makePdf, makePng } from "../server/src/testing/test-documents.ts";
import { makePhoto, readImage, red } from "../server/src/testing/test-images.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { overBothStores } from "./src/stores.ts";
import { anotherWorkspace, firstWorkspace, newUser, type Workspace } from "./src/workspace.ts";

overBothStores("facts about files", testFacts);

function testFacts(openStore: (opened: AsyncDisposableStack) => Promise<Record<string, string>>) {
  const opened = closeAfterTests();
  let hub: TestHub;
  let home: Workspace;
  let abroad: Workspace;
  let conversation_id: string;

  before(async () => {
    hub = opened.use(await startTestHub({ env: await openStore(opened) }));
    [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
    const members = [home.admin.userId, home.agent.userId, home.member.userId];
    ({ conversation_id } = await home.admin.client.conversations.create({ type: "group", title: "Photos", members }));
  });

  async function upload(filename: string, content: Buffer): Promise<File> {
    const blob = new Blob([content as Buffer<ArrayBuffer>]);
    return home.admin.client.files.upload(blob, { filename, conversation_id });
  }

  /** How the hub's own work on a file ended. */
  const ended = (file_id: string) =>
    until("the task ends", async () => {
      const { data } = await home.admin.client.tasks.list({ file_id, task_type: "facts" });
      return data[0]?.finished_at ? data[0] : null;
    });

  const refusedWith = (status: number, code: string) => (error: unknown) =>
    error instanceof ApiError && error.status === status && error.code === code;

  test("a photo gets its size as it is shown, and a thumbnail, for all who see the photo", async () => {
    const photo = await upload("photo.jpg", await makePhoto({ width: 1200, height: 800 }, 6));
    assert.deepEqual([photo.status, photo.has_thumbnail, photo.width], ["completed", false, null]);
    assert.deepEqual((await ended(photo.file_id)).status, "completed");
    const { client } = home.member;
    const found = await client.files.get(photo.file_id);
    assert.deepEqual([found.width, found.height, found.duration_ms, found.pages], [800, 1200, null, null]);
    assert.ok(found.has_thumbnail);
    const { url } = await client.files.thumbnail(photo.file_id);
    const answer = await fetch(url);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "image/webp");
    assert.match(answer.headers.get("content-disposition")!, /^inline; filename="?photo\.jpg\.webp/);
    const { format, width, height, right } = await readImage(Buffer.from(await answer.arrayBuffer()));
    assert.deepEqual([format, width, height, right], ["WEBP", 213, 320, red]);
    for (const stranger of [await newUser(hub, home.admin, "member"), abroad.admin]) {
      await assert.rejects(stranger.client.files.thumbnail(photo.file_id), refusedWith(404, "RESOURCE_NOT_FOUND"));
    }
  });

  test("a PDF gets its pages, and a voice note its duration", async () => {
    const pdf = await upload("offer.pdf", makePdf([["one"], ["two"]]));
    const sound = new URL("../server/src/documents/facts/fixtures/voice.ogg", import.meta.url);
    const voice = await upload("voice.ogg", await readFile(sound));
    for (const { file_id } of [pdf, voice]) assert.equal((await ended(file_id)).status, "completed");
    const { files } = home.admin.client;
    const { pages, has_thumbnail } = await files.get(pdf.file_id);
    assert.deepEqual([pages, has_thumbnail], [2, true]);
    assert.equal((await files.get(voice.file_id)).duration_ms, 1507);
    await assert.rejects(files.thumbnail(voice.file_id), refusedWith(404, "RESOURCE_NOT_FOUND"));
  });

  test("a picture that cannot be read stays as it is, without facts; a text is not looked at", async () => {
    const claimed = { width: 50_000, height: 50_000 };
    const hostile = await upload("huge.png", makePng(Buffer.alloc(100), 10, 10, claimed));
    const { status, error } = await ended(hostile.file_id);
    assert.deepEqual([status, error?.code], ["failed", "DOCUMENT_TOO_LARGE"]);
    const found = await home.admin.client.files.get(hostile.file_id);
    assert.deepEqual([found.status, found.width, found.has_thumbnail], ["completed", null, false]);
    const text = await upload("notes.txt", Buffer.from("a text"));
    assert.deepEqual((await home.admin.client.tasks.list({ file_id: text.file_id })).data, []);
  });

  test("a thumbnail is deleted with its file", async () => {
    const photo = await upload("photo.jpg", await makePhoto({ width: 100, height: 100 }, 1));
    await ended(photo.file_id);
    const { files } = home.admin.client;
    const { url } = await files.thumbnail(photo.file_id);
    assert.equal((await fetch(url)).status, 200);
    await files.remove(photo.file_id);
    await assert.rejects(files.thumbnail(photo.file_id), refusedWith(409, "CONFLICT"));
    const { pipelineDb: db, files: deps } = hub.hub.context;
    await until("the object is gone", async () => {
      await removeObjects({ db, store: deps.store });
      return (await fetch(url)).status === 404;
    });
  });
}
