/** The disaster: a process dies while it reads a document, and nobody ever learns what became of it. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { makePdf } from "../server/src/testing/test-documents.ts";
import { scanOf } from "../server/src/testing/test-scan.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms, sharedSecrets } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { openOwner } from "./src/owned-rows.ts";
import { processesIn, withoutProc } from "./src/processes.ts";
import { type WatchedTask, watchTask } from "./src/watch-task.ts";

test(
  "when a process is killed in the middle of a task, another one runs it again, and its progress never falls",
  { skip: withoutProc },
  async () => {
    await using stack = new AsyncDisposableStack();
    const database = stack.use(await createTestDatabase());
    const simulator = stack.use(await startSimulator(openPlatforms));
    const folder = stack.adopt(await mkdtemp(join(tmpdir(), "tasks-")), (path) => rm(path, { recursive: true }));
    const shared = { ...sharedSecrets, DATABASE_URL: database.url, SIMULATOR_URL: simulator.url, DATA_DIR: folder };
    const env = { ...shared, TASKS_CONCURRENCY: "1", BUS_LEASE: "2s" };
    const [first, second] = [stack.use(await openHubPlace(env)), stack.use(await openHubPlace(env))];
    const doomed = await startHubProcess(first);
    await startHubProcess(second);
    const credential = { username: "admin", password: adminPassword };
    const client = openClient({ url: second.url, credential });
    const { access_token } = await openClient({ url: second.url }).auth.logIn(credential);
    const scan = await scanOf([["The invoice is due on the last day of the month."]]);
    const pages = [8, 9];
    const files: string[] = [];
    for (const count of pages) {
      const bytes = makePdf(new Array<[]>(count).fill([]), { scan });
      const { file_id } = await client.files.upload(new Blob([new Uint8Array(bytes)]), { filename: "scans.pdf" });
      files.push(file_id);
    }
    // The hub's own work on the files takes no place of theirs.
    await until("all other tasks are done", async () =>
      (await client.tasks.list()).data.every(({ finished_at }) => finished_at !== null),
    );
    const ids: string[] = [];
    for (const file_id of files) ids.push((await client.documents.extract(file_id)).task_id);
    const watched: WatchedTask[] = [];
    for (const id of ids) watched.push(stack.use(await watchTask(second.url, id, access_token)));
    await until("both make progress, one in each process", () =>
      watched.every(({ frames }) => frames.at(-1)?.task.status === "running" && frames.at(-1)!.task.progress > 5),
    );
    doomed.kill("SIGKILL");
    await doomed.ended;
    await until("what it had started ends with it", () => processesIn(first.folder).length === 0);
    for (const { closed, frames } of watched) {
      assert.equal((await closed).code, 1000);
      const tasks = frames.map(({ task }) => task);
      assert.equal(tasks.at(-1)!.status, "completed");
      for (const [index, { progress }] of tasks.entries()) assert.ok(progress >= (tasks[index - 1]?.progress ?? 0));
    }
    const results = await Promise.all(ids.map(async (id) => (await client.tasks.get(id)).result));
    assert.deepEqual(
      results.map((result) => (result as { words: number }).words),
      pages.map((count) => 11 * count),
    );
    const owner = stack.use(await openOwner(database.url));
    const rows = await owner.all<{ crashes: number }>(
      "SELECT crashes FROM tasks WHERE kind = 'extract' ORDER BY crashes",
    );
    assert.deepEqual(
      rows.map(({ crashes }) => crashes),
      [0, 1],
    );
  },
);
