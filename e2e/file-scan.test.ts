import assert from "node:assert/strict";
import { ApiError, type Client, type File } from "../client/src/client.ts";
import { removeObjects, scanFile } from "../server/src/files/files.ts";
import { all } from "../server/src/lib/query.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { eicar, marker, maxStreamBytes, startTestClamd, type TestClamd } from "../server/src/testing/test-clamd.ts";
import { makePng } from "../server/src/testing/test-documents.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Frame, listen } from "./src/listener.ts";
import { firstWorkspace, type Workspace } from "./src/workspace.ts";

const { test, before } = testsThatNeed("clamd");
const opened = closeAfterTests();
let clamd: TestClamd;
let hub: TestHub;
let home: Workspace;
let client: Client;
let conversation_id: string;

before(async () => {
  clamd = opened.use(await startTestClamd());
  hub = opened.use(await startTestHub({ env: { CLAMAV_URL: `tcp://${clamd.tcp.host}:${clamd.tcp.port}` } }));
  home = await firstWorkspace(hub);
  client = home.admin.client;
  const members = [home.admin.userId, home.agent.userId, home.member.userId];
  ({ conversation_id } = await client.conversations.create({ type: "group", title: "Scanned", members }));
});

const upload = (filename: string, content: string | Buffer, by = client): Promise<File> =>
  by.files.upload(new Blob([content as string]), { filename, conversation_id });

const scanned = (fileId: string, by = client): Promise<File> =>
  until("the file is scanned", async () => {
    const file = await by.files.get(fileId);
    return file.status === "scanning" || file.status === "receiving" ? null : file;
  });

const refusedWith = (status: number, code: string) => (error: unknown) =>
  error instanceof ApiError && error.status === status && error.code === code;

/** The state of a dependency, as a load balancer sees it. */
async function readiness() {
  const { dependencies, troubles } = (await (await fetch(`${hub.url}/readyz`)).json()) as {
    dependencies: Record<string, { state: string }>;
    troubles: { part: string }[];
  };
  return { clamav: dependencies.clamav!.state, troubles: troubles.map(({ part }) => part) };
}

const usedBytes = async () => (await all<{ bytes: number }>(hub.db, "SELECT bytes FROM file_usage", []))[0]?.bytes ?? 0;

test("until it is scanned, a file is seen by its uploader only, and cannot be downloaded or sent", async () => {
  const before = await usedBytes();
  clamd.hang();
  const { file_id, status } = await upload("dot.png", makePng(new Uint8Array(100), 10, 10));
  assert.equal(status, "scanning");
  assert.ok((await usedBytes()) > before, "it counts for the quota");
  const { completed_at, content_type } = await client.files.get(file_id);
  assert.deepEqual([completed_at, content_type], [null, null]);
  await assert.rejects(client.files.download(file_id), refusedWith(409, "CONFLICT"));
  await assert.rejects(client.files.thumbnail(file_id), refusedWith(409, "CONFLICT"));
  await assert.rejects(client.documents.extract(file_id), refusedWith(409, "CONFLICT"));
  const payload = { type: "file", file_id } as const;
  await assert.rejects(client.messages.send({ conversation_id, payload }), refusedWith(409, "CONFLICT"));
  await assert.rejects(home.member.client.files.get(file_id), refusedWith(404, "RESOURCE_NOT_FOUND"));
  clamd.goOn();
  assert.equal((await scanned(file_id)).status, "completed");
  assert.equal((await home.member.client.files.get(file_id)).content_type, "image/png");
  assert.equal((await fetch((await home.member.client.files.download(file_id)).url)).status, 200);
  await until("it gets its thumbnail", async () => (await client.files.get(file_id)).has_thumbnail);
});

test("an empty file is scanned, too", async () => {
  assert.equal((await scanned((await upload("empty.txt", "")).file_id)).status, "completed");
});

test("an infected file is rejected, in one request or in parts, and its bytes are deleted", async () => {
  const inParts = await upload("eicar.txt", eicar);
  const blob = new Blob([`A text with ${marker} in it.`]);
  const atOnce = await client.files.uploadInOneRequest(blob, { filename: "marked.txt", conversation_id });
  for (const [file, signature] of [[inParts, "Test.Eicar"] as const, [atOnce, "Test.Marker"] as const]) {
    const { status, error } = await scanned(file.file_id);
    assert.deepEqual([status, error?.code], ["rejected", "FILE_INFECTED"]);
    assert.ok(error!.message.includes(signature));
    await assert.rejects(client.files.download(file.file_id), refusedWith(409, "CONFLICT"));
    await assert.rejects(home.member.client.files.get(file.file_id), refusedWith(404, "RESOURCE_NOT_FOUND"));
    const { pipelineDb: db, files } = hub.hub.context;
    const [row] = await all<{ workspace_id: string }>(db, "SELECT workspace_id FROM files WHERE file_id = $1", [
      file.file_id,
    ]);
    await removeObjects({ db, store: files.store });
    assert.equal(await files.store.stat(`${row!.workspace_id}/${file.file_id}`), null);
  }
  const checksum = "0".repeat(64);
  const again = client.files.complete({ file_id: inParts.file_id, checksum });
  await assert.rejects(again, refusedWith(422, "FILE_INFECTED"));
});

test("the uploader and admins learn how a scan ended over their sockets, and nobody else", async () => {
  const open = async ({ token }: { token: string }) => opened.use(await listen({ url: hub.url, token }));
  const sockets = { member: await open(home.member), admin: await open(home.admin), agent: await open(home.agent) };
  const { file_id: clean } = await upload("clean.txt", "a clean text", home.member.client);
  const { file_id: infected } = await upload("infected.txt", marker, home.member.client);
  const idOf = (frame: Frame) => (frame.file as { file_id: string } | undefined)?.file_id;
  for (const socket of [sockets.member, sockets.admin]) {
    const completed = await socket.frame("the file is completed", (frame) => idOf(frame) === clean);
    assert.partialDeepStrictEqual(completed, { event: "file.completed", file: { status: "completed" } });
    const rejected = await socket.frame("the file is rejected", (frame) => idOf(frame) === infected);
    assert.partialDeepStrictEqual(rejected, { event: "file.rejected", file: { error: { code: "FILE_INFECTED" } } });
  }
  const { message_id } = await client.messages.send({ conversation_id, payload: { type: "text", text: "behind it" } });
  await sockets.agent.frame("a later event", (frame) => frame.message_id === message_id);
  assert.ok(sockets.agent.frames.every((frame) => idOf(frame) === undefined));
});

test("an infected file of a person is rejected", async () => {
  const payload = {
    type: "file",
    content_type: "text/plain",
    filename: "notes.txt",
    content: Buffer.from(marker).toString("base64"),
  } as const;
  await hub.person("telegram").writes(payload);
  const { file_id } = await until("it is received", async () => {
    const text = "SELECT file_id FROM files WHERE source IS NOT NULL";
    return (await all<{ file_id: string }>(hub.db, text, []))[0];
  });
  const { status, error } = await scanned(file_id);
  assert.deepEqual([status, error?.code], ["rejected", "FILE_INFECTED"]);
});

test("while clamd cannot be reached, files wait and /readyz says so", async () => {
  assert.deepEqual(await readiness(), { clamav: "up", troubles: [] });
  await clamd.kill();
  const { file_id } = await upload("patient.txt", "a patient text");
  const waiting = await until("the scan waits", async () => {
    const { data } = await client.tasks.list({ file_id, task_type: "scan" });
    return data[0]?.error ? data[0] : null;
  });
  assert.deepEqual([waiting.status, waiting.error!.code], ["pending", "SCAN_UNAVAILABLE"]);
  assert.equal((await client.files.get(file_id)).status, "scanning");
  const { clamav, troubles } = await readiness();
  assert.equal(clamav, "down");
  assert.deepEqual(troubles, ["malware scan"]);
  await clamd.start();
  assert.equal((await scanned(file_id)).status, "completed");
  assert.equal((await readiness()).clamav, "up");
});

test("a file that clamd does not take is rejected, or accepted where the operator says so", async () => {
  const large = Buffer.alloc(maxStreamBytes + 1, "a large text ");
  const { status, error } = await scanned((await upload("large.txt", large)).file_id);
  assert.deepEqual([status, error?.code], ["rejected", "FILE_NOT_SCANNED"]);
  const env = { CLAMAV_URL: `unix://${clamd.unix.path}`, CLAMAV_UNSCANNABLE: "accept" };
  await using trusting = await startTestHub({ env });
  const by = (await firstWorkspace(trusting)).admin.client;
  const accepted = await by.files.upload(new Blob([large]), { filename: "large.txt" });
  assert.equal((await scanned(accepted.file_id, by)).status, "completed");
  const infected = await by.files.upload(new Blob([marker]), { filename: "small.txt" });
  assert.equal((await scanned(infected.file_id, by)).status, "rejected");
});

test("where files are not scanned any more, those that wait are completed", async () => {
  await clamd.kill();
  const { file_id } = await upload("left.txt", "left behind");
  assert.equal((await client.files.get(file_id)).status, "scanning");
  const { pipelineDb: db, log, files } = hub.hub.context;
  const { signal } = new AbortController();
  await scanFile({ ...files, db, log, clamd: null, acceptsUnscanned: false }, file_id, signal);
  assert.equal((await client.files.get(file_id)).status, "completed");
});
