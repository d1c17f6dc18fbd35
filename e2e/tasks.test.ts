import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { ApiError, type Client } from "../client/src/client.ts";
import { closeAfterTests } from "../server/src/testing/close-after-tests.ts";
import { testsThatNeed } from "../server/src/testing/programs.ts";
import { makePdf } from "../server/src/testing/test-documents.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";
import { type Listener, listen } from "./src/listener.ts";
import { openS3 } from "./src/stores.ts";
import { watchTask } from "./src/watch-task.ts";
import { anotherWorkspace, firstWorkspace, type Workspace } from "./src/workspace.ts";

const isError = (status: number, code: string) => (error: unknown) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.deepEqual([error.status, error.code], [status, code]);
  return true;
};

const upload = (client: Client, filename: string, content: string | Uint8Array<ArrayBuffer>) =>
  client.files.upload(new Blob([content]), { filename });

const ended = (client: Client, taskId: string) =>
  until("the task ends", async () => {
    const task = await client.tasks.get(taskId);
    return task.finished_at !== null && task;
  });

describe("tasks", () => {
  const opened = closeAfterTests();
  let hub: TestHub;
  let home: Workspace;
  let abroad: Workspace;
  let sockets: Record<"admin" | "agent" | "member", Listener>;

  before(async () => {
    hub = opened.use(await startTestHub());
    [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
    const open = async (role: keyof typeof sockets) =>
      opened.use(await listen({ url: hub.url, token: home[role].token }));
    sockets = { admin: await open("admin"), agent: await open("agent"), member: await open("member") };
  });

  test("the text of a file is extracted in the background, and the same request meanwhile returns the same task", async () => {
    const { client } = home.member;
    const file = await upload(client, "notas.txt", "Olá! O café está pronto, e a reunião começa às nove horas.");
    const [started, again] = await Promise.all([
      client.documents.extract(file.file_id),
      client.documents.extract(file.file_id),
    ]);
    assert.equal(started.status, "pending");
    assert.equal(again.task_id, started.task_id);
    const task = await ended(client, started.task_id);
    assert.partialDeepStrictEqual(task, {
      task_type: "extract",
      status: "completed",
      progress: 100,
      user_id: home.member.userId,
      file_id: file.file_id,
      error: null,
    });
    assert.partialDeepStrictEqual(task.result, { language: "pt", words: 12, marks: [], pages: null });
    assert.match((task.result as { text: string }).text, /café está pronto/);
    // It has ended, so this is another one.
    assert.notEqual((await client.documents.extract(file.file_id)).task_id, started.task_id);
  });

  test("its user and admins see a task, its events and its result, and others do not even learn of it", async () => {
    const { admin, agent, member, outsider } = home;
    const file = await upload(member.client, "mine.txt", "For me alone.");
    const { task_id } = await member.client.documents.extract(file.file_id);
    await ended(member.client, task_id);
    const eventsOf = (socket: Listener) => socket.events().filter(({ task }) => idOf(task) === task_id);
    for (const socket of [sockets.member, sockets.admin]) {
      await until("the end is seen", () => eventsOf(socket).some(({ event }) => event === "task.completed"));
    }
    assert.deepEqual(
      [...new Set(eventsOf(sockets.member).map(({ event }) => event))],
      ["task.pending", "task.running", "task.completed"],
    );
    for (const { task } of eventsOf(sockets.admin)) assert.ok(!("result" in (task as object)));
    assert.deepEqual(eventsOf(sockets.agent), []);
    const isListed = async (client: Client) =>
      (await client.tasks.list({ file_id: file.file_id })).data.some((task) => task.task_id === task_id);
    for (const { client } of [member, admin]) {
      assert.equal((await client.tasks.get(task_id)).status, "completed");
      assert.ok(await isListed(client));
      const { data } = await client.events.list({ limit: 200 });
      assert.ok(data.some((frame) => frame.type === "TASK" && frame.task.task_id === task_id));
    }
    for (const { client } of [agent, outsider, abroad.admin]) {
      await assert.rejects(client.tasks.get(task_id), isError(404, "TASK_NOT_FOUND"));
      await assert.rejects(client.tasks.cancel(task_id), isError(404, "TASK_NOT_FOUND"));
      await assert.rejects(client.documents.extract(file.file_id), isError(404, "RESOURCE_NOT_FOUND"));
      assert.ok(!(await isListed(client)));
    }
    // A key of the user without the scope gets no events of tasks either.
    const scopes = ["events:read", "messages:read", "conversations:read"] as const;
    const { key } = await member.client.apiKeys.create({ name: "No tasks", scopes: [...scopes] });
    const { data } = await hub.clientFor(key).events.list({ limit: 200 });
    assert.ok(data.every(({ type }) => type !== "TASK"));
  });

  test("the hub's own work is shown to admins alone, and cannot be cancelled", async () => {
    const { admin, member } = home;
    const { file_id } = await upload(member.client, "page.pdf", new Uint8Array(makePdf([["A page"]])));
    const task = await until("the facts are found", async () => {
      const { data } = await admin.client.tasks.list({ file_id });
      return data.find(({ task_type, finished_at }) => task_type === "facts" && finished_at !== null);
    });
    assert.deepEqual([task.user_id, task.status], [null, "completed"]);
    await assert.rejects(admin.client.tasks.cancel(task.task_id), isError(403, "FORBIDDEN"));
    await assert.rejects(member.client.tasks.get(task.task_id), isError(404, "TASK_NOT_FOUND"));
    assert.deepEqual((await member.client.tasks.list({ file_id })).data, []);
    // Nobody gets events of it: an event of a later task has arrived without one.
    const { task_id } = await member.client.documents.extract(file_id);
    const ids = () => sockets.admin.events().map(({ task: shown }) => idOf(shown));
    await until("the admin sees the later task", () => ids().includes(task_id));
    assert.ok(!ids().includes(task.task_id));
    await ended(member.client, task_id);
  });

  test("a list is filtered by status, type and file, and has pages", async () => {
    const { client } = home.outsider;
    const files = [await upload(client, "one.txt", "one"), await upload(client, "two.txt", "two")];
    const ids: string[] = [];
    for (const { file_id } of files) ids.unshift((await client.documents.extract(file_id)).task_id);
    const broken = await upload(client, "broken.pdf", "%PDF-1.7 and no more");
    ids.unshift((await client.documents.extract(broken.file_id)).task_id);
    for (const id of ids) await ended(client, id);
    const idsOf = async (query: Parameters<Client["tasks"]["list"]>[0]) =>
      (await client.tasks.list(query)).data.map(({ task_id }) => task_id);
    assert.deepEqual(await idsOf({}), ids);
    assert.deepEqual(await idsOf({ status: "failed" }), [ids[0]]);
    assert.deepEqual(await idsOf({ file_id: files[0]!.file_id }), [ids[2]]);
    assert.deepEqual(await idsOf({ task_type: "summarize" }), []);
    const first = await client.tasks.list({ limit: 2 });
    assert.deepEqual(
      first.data.map(({ task_id }) => task_id),
      ids.slice(0, 2),
    );
    assert.deepEqual(await idsOf({ limit: 2, cursor: first.next_cursor! }), ids.slice(2));
    const { error } = await client.tasks.get(ids[0]!);
    assert.equal(error!.code, "DOCUMENT_CORRUPT");
  });

  test("a task is cancelled once, and one that has ended is not", async () => {
    const { client } = home.member;
    const file = await upload(client, "long.txt", "A line of a long text.\n".repeat(200_000));
    const { task_id } = await client.documents.extract(file.file_id);
    const cancelled = await client.tasks.cancel(task_id);
    assert.equal(cancelled.status, "cancelled");
    assert.deepEqual(await client.tasks.cancel(task_id), cancelled);
    const other = await client.documents.extract(file.file_id);
    assert.notEqual(other.task_id, task_id);
    await ended(client, other.task_id);
    await assert.rejects(client.tasks.cancel(other.task_id), isError(409, "TASK_ALREADY_COMPLETED"));
    assert.equal((await client.tasks.get(task_id)).status, "cancelled");
  });

  test("what cannot be read as a document is refused at once", async () => {
    const { client } = home.member;
    const started = await client.files.initiate({ filename: "notes.txt", size: 5 });
    await assert.rejects(client.documents.extract(started.file_id), isError(409, "CONFLICT"));
    const video = await upload(client, "clip.gif", "GIF89a\x01\x00\x01\x00\x00\x00\x00;");
    await assert.rejects(client.documents.extract(video.file_id), isError(422, "DOCUMENT_TYPE_UNSUPPORTED"));
    const gone = await upload(client, "gone.txt", "gone");
    await client.files.remove(gone.file_id);
    await assert.rejects(client.documents.extract(gone.file_id), isError(409, "CONFLICT"));
  });

  test("a result as long as a document may be is returned whole", async () => {
    const { client } = home.member;
    const line = 'Ação \u2028 "quoted"\n';
    const file = await upload(client, "long.txt", line.repeat(500_000));
    const { task_id } = await client.documents.extract(file.file_id);
    const { result } = await ended(client, task_id);
    const { text } = result as { text: string };
    assert.ok(text.length >= 7_900_000, `${text.length} characters`);
    assert.ok(text.startsWith("Ação"));
  });
});

describe("a socket of one task", () => {
  const opened = closeAfterTests();
  let hub: TestHub;
  let home: Workspace;
  let abroad: Workspace;

  before(async () => {
    hub = opened.use(await startTestHub({ env: { TASKS_PER_USER: "1" } }));
    [home, abroad] = [await firstWorkspace(hub), await anotherWorkspace(hub)];
  });

  /** One that runs for a while, and one that waits for it. */
  async function startTwo(client: Client): Promise<[running: string, waiting: string]> {
    const long = await upload(client, "long.txt", "A line of a long text.\n".repeat(600_000));
    const running = (await client.documents.extract(long.file_id)).task_id;
    const short = await upload(client, "short.txt", "oi");
    return [running, (await client.documents.extract(short.file_id)).task_id];
  }

  test("shows the present state first, each change, and closes with 1000 at the end", async () => {
    const { client, token } = home.member;
    const [running, waiting] = await startTwo(client);
    const watched = [await watch(running, token), await watch(waiting, token)];
    for (const { frames, closed } of watched) {
      assert.deepEqual(await closed, { code: 1000, reason: "the task has ended" });
      const tasks = frames.map(({ task }) => task);
      assert.deepEqual([tasks.at(-1)!.status, tasks.at(-1)!.progress], ["completed", 100]);
      assert.ok(tasks.every((task) => !("result" in task)));
      for (const [index, { progress }] of tasks.entries()) assert.ok(progress >= (tasks[index - 1]?.progress ?? 0));
    }
    assert.equal(watched[1]!.frames[0]!.task.status, "pending");
    // One that has ended: its state, and the close.
    const late = await watch(waiting, token);
    assert.deepEqual(await late.closed, { code: 1000, reason: "the task has ended" });
    assert.deepEqual(
      late.frames.map(({ task }) => task.status),
      ["completed"],
    );
  });

  test("is for the task's user and for admins, with the scope", async () => {
    const { member, admin, agent, outsider } = home;
    const [running, waiting] = await startTwo(member.client);
    const key = async (scopes: ("tasks:read" | "events:read")[]) =>
      (await member.client.apiKeys.create({ name: "watches", scopes })).key;
    for (const token of [member.token, admin.token, await key(["tasks:read"])]) {
      const { frames } = await watch(waiting, token);
      await until("it shows the task", () => frames[0]?.task.task_id === waiting);
    }
    for (const token of [agent.token, outsider.token, abroad.admin.token]) {
      assert.deepEqual(await refusal(waiting, token), [404, "TASK_NOT_FOUND"]);
    }
    assert.deepEqual(await refusal("nothing", member.token), [404, "TASK_NOT_FOUND"]);
    assert.deepEqual(await refusal(waiting, "wrong"), [401, "AUTH_INVALID"]);
    assert.deepEqual(await refusal(waiting, await key(["events:read"])), [403, "FORBIDDEN"]);
    await member.client.tasks.cancel(waiting);
    await member.client.tasks.cancel(running);
  });

  test("closes when the task is cancelled, or the credential is revoked", async () => {
    const { client } = home.member;
    const [running, waiting] = await startTwo(client);
    const { key, api_key_id } = await client.apiKeys.create({ name: "watches", scopes: ["tasks:read"] });
    const byKey = await watch(waiting, key);
    await client.apiKeys.revoke(api_key_id);
    assert.equal((await byKey.closed).code, 4401);
    const watched = await watch(waiting, home.member.token);
    await client.tasks.cancel(waiting);
    assert.equal((await watched.closed).code, 1000);
    assert.equal(watched.frames.at(-1)!.task.status, "cancelled");
    await client.tasks.cancel(running);
  });

  const urlOf = (taskId: string) => `${hub.url.replace(/^http/, "ws")}/ws/tasks/${taskId}`;

  const watch = async (taskId: string, token: string) => opened.use(await watchTask(hub.url, taskId, token));

  /** Status and code of the response to the handshake. */
  function refusal(taskId: string, token: string): Promise<[status: number, code: string]> {
    const socket = new WebSocket(urlOf(taskId), { headers: { authorization: `Bearer ${token}` } });
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("open", () => reject(new Error("It was opened.")));
      socket.on("unexpected-response", async (_request, response) => {
        const body = JSON.parse((await response.toArray()).join(""));
        resolve([response.statusCode!, body.error.code]);
      });
    });
  }
});

const { describe: withS3 } = testsThatNeed("versitygw");

withS3("files in S3", () => {
  const opened = closeAfterTests();

  test("the text of a file is extracted", async () => {
    const hub = opened.use(await startTestHub({ env: await openS3(opened) }));
    const file = await upload(hub.client, "notes.md", "# Notes\n\nThe words of a document in a bucket.");
    const { task_id } = await hub.client.documents.extract(file.file_id);
    assert.partialDeepStrictEqual((await ended(hub.client, task_id)).result, { title: "Notes" });
  });
});

function idOf(task: unknown): string | undefined {
  return (task as { task_id?: string } | undefined)?.task_id;
}
