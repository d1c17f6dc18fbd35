import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { RequestError } from "../errors.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { run } from "../lib/query.ts";
import { patient } from "../testing/patience.ts";
import { startTaskTest } from "../testing/test-tasks.ts";
import { until } from "../testing/until.ts";
import { cancelTask, deleteOldTasks, deleteTasksOfDeletedFiles, TaskFailure, type TaskRun, TryLater } from "./tasks.ts";

const taskProgram = fileURLToPath(new URL("../testing/task-process.ts", import.meta.url));

type Hub = Awaited<ReturnType<typeof startTaskTest>>;

const reaches = (hub: Hub, taskId: string, status: string) =>
  until(`the task is ${status}`, async () => {
    const task = await hub.find(taskId);
    return task.status === status && task;
  });

/** Ends when its signal aborts. */
const endless = ({ signal }: TaskRun) =>
  new Promise<never>((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

/** A kind whose runs begin in a list, and end when the test says so. */
function openSteps() {
  const started: { run: TaskRun; end: (result: object | null) => void }[] = [];
  return {
    started,
    count: (userId: string) => started.filter(({ run }) => run.task.userId === userId).length,
    begin: (run: TaskRun) =>
      Promise.race([endless(run), new Promise<object | null>((end) => void started.push({ run, end }))]),
  };
}

test("a task runs with its options, shows its progress, and ends with its result", async () => {
  await using hub = await startTaskTest();
  const steps = openSteps();
  const { taskId, status } = await hub.create({ options: { b: 1, a: [2] } });
  assert.equal(status, "pending");
  hub.start(steps.begin);
  await until("it runs", () => steps.started.length === 1);
  const [{ run: first, end }] = steps.started as [(typeof steps.started)[number]];
  assert.deepEqual(first.task.options, { b: 1, a: [2] });
  first.progress(41.7);
  first.progress(12);
  const running = await until("its progress is stored", async () => {
    const task = await hub.find(taskId);
    return task.progress > 0 && task;
  });
  assert.deepEqual([running.status, running.progress], ["running", 41]);
  // A completed task alone has 100.
  first.progress(100);
  await until("it nears its end", async () => (await hub.find(taskId)).progress === 99);
  end({ text: "olá" });
  const done = await reaches(hub, taskId, "completed");
  assert.deepEqual([done.progress, done.result, done.error], [100, { text: "olá" }, null]);
  assert.ok(done.started_at! <= done.finished_at!);
});

// Each change is an event for sockets and webhook endpoints.
test("progress is stored at most once a second, however often the process looks for work", async () => {
  await using hub = await startTaskTest();
  const steps = openSteps();
  let elapsedMs = 0;
  const clock: Clock = { ...systemClock, elapsed: () => elapsedMs, after: () => () => {} };
  const runner = hub.start(steps.begin, { clock });
  const { taskId } = await hub.create();
  await runner.poll();
  const progressAt = async (ms: number, percent: number) => {
    elapsedMs = ms;
    steps.started[0]!.run.progress(percent);
    await runner.poll();
    return (await hub.find(taskId)).progress;
  };
  assert.equal(await progressAt(0, 10), 10);
  assert.equal(await progressAt(400, 20), 10);
  assert.equal(await progressAt(999, 30), 10);
  assert.equal(await progressAt(1_000, 40), 40);
  assert.equal(await progressAt(5_000, 50), 50);
});

test("the same work is under way once for each user, and can be asked for again when it has ended", async () => {
  await using hub = await startTaskTest();
  const bea = await hub.addUser("Bea");
  const first = await hub.create({ options: { words: 10, style: "brief" } });
  assert.deepEqual(await hub.create({ options: { style: "brief", words: 10 } }), first);
  assert.notEqual((await hub.create({ options: { words: 11 } })).taskId, first.taskId);
  assert.notEqual((await hub.create({ userId: bea, options: { words: 10, style: "brief" } })).taskId, first.taskId);
  const atOnce = await Promise.all(Array.from({ length: 8 }, () => hub.create({ kind: "other" })));
  assert.equal(new Set(atOnce.map(({ taskId }) => taskId)).size, 1);
  hub.start(async () => null);
  await reaches(hub, first.taskId, "completed");
  assert.notEqual((await hub.create({ options: { words: 10, style: "brief" } })).taskId, first.taskId);
});

test("a task is not there when the transaction that caused it is rolled back", async () => {
  await using hub = await startTaskTest();
  await Promise.all(Array.from({ length: 100 }, (_, index) => hub.create({ options: { index } })));
  await assert.rejects(hub.create(), (error: RequestError) => error.code === "RATE_LIMIT_EXCEEDED");
  const { rows } = await hub.pool.query("SELECT count(*)::integer AS count FROM tasks");
  assert.equal(rows[0].count, 100);
  // One that is under way is still returned, and others may ask.
  await hub.create({ options: { index: 1 } });
  await hub.create({ userId: await hub.addUser("Bea") });
  await hub.create({ userId: null });
});

test("users take turns, and none has more running tasks than allowed, in all processes together", async () => {
  await using hub = await startTaskTest();
  const [bea, steps] = [await hub.addUser("Bea"), openSteps()];
  for (let index = 0; index < 6; index += 1) await hub.create({ options: { index } });
  const bounds = { concurrency: 2, perUser: 2 };
  const [one, other] = [hub.start(steps.begin, bounds), hub.start(steps.begin, bounds)];
  await until("two run", () => steps.started.length === 2);
  await Promise.all([one.poll(), other.poll()]);
  assert.equal(steps.started.length, 2, "though the processes have room for two more");
  for (let index = 0; index < 2; index += 1) await hub.create({ userId: bea, options: { index } });
  await until("the other user's run as well", () => steps.count(bea) === 2);
  steps.started[0]!.end(null);
  await until("the first user's next one runs", () => steps.count(hub.userId) === 3);
  assert.equal(steps.count(bea), 2);
});

test("with one free slot, a waiting user is served before one who was just served", async () => {
  await using hub = await startTaskTest();
  const [bea, steps] = [await hub.addUser("Bea"), openSteps()];
  for (let index = 0; index < 3; index += 1) await hub.create({ options: { index } });
  hub.start(steps.begin, { concurrency: 2, perUser: 2 });
  await until("two run", () => steps.started.length === 2);
  const { taskId } = await hub.create({ userId: bea });
  steps.started[0]!.end(null);
  await until("a third runs", () => steps.started.length === 3);
  assert.equal(steps.started[2]!.run.task.taskId, taskId);
});

test("runners of different kinds have bounds of their own", async () => {
  await using hub = await startTaskTest();
  const [slow, quick] = [openSteps(), openSteps()];
  hub.start(slow.begin, { perUser: 1 });
  hub.start(quick.begin, { kind: "quick", perUser: 1 });
  await hub.create();
  await until("the slow one runs", () => slow.started.length === 1);
  await hub.create({ kind: "quick" });
  await until("the quick one runs beside it", () => quick.started.length === 1);
});

test("a run ends when its task is cancelled through another process", async () => {
  await using hub = await startTaskTest();
  const steps = openSteps();
  hub.start(steps.begin);
  const { taskId } = await hub.create();
  await until("it runs", () => steps.started.length === 1);
  const viewer = { workspaceId: hub.workspaceId, userId: hub.userId, role: "member" as const };
  const { status } = await cancelTask(hub.dbOf(hub.workspaceId), viewer, taskId, new Date());
  assert.equal(status, "cancelled");
  await until("the run is aborted", () => steps.started[0]!.run.signal.aborted);
  // What it still returns is not stored.
  steps.started[0]!.end({ text: "late" });
  const next = await hub.create();
  await until("the next one runs", () => steps.started.length === 2);
  assert.notEqual(next.taskId, taskId);
  const { status: kept, result } = await hub.find(taskId);
  assert.deepEqual([kept, result], ["cancelled", null]);
});

test("a task that takes too long fails with TASK_TIMEOUT, and its run is aborted", async () => {
  await using hub = await startTaskTest();
  let isOver = () => {};
  const timeoutMs = 5 * 60_000;
  const clock: Clock = {
    ...systemClock,
    after: (ms, callback) => {
      if (ms !== timeoutMs) return systemClock.after(ms, callback);
      isOver = callback;
      return () => {};
    },
  };
  const steps = openSteps();
  hub.start(steps.begin, { clock, timeoutMs });
  const { taskId } = await hub.create();
  await until("it runs", () => steps.started.length === 1);
  isOver();
  const { error } = await reaches(hub, taskId, "failed");
  assert.deepEqual(error, { code: "TASK_TIMEOUT", message: "The task took longer than 300 s." });
  assert.ok(steps.started[0]!.run.signal.aborted);
});

test("a task fails with the code that its kind gives, and an error that is a bug shows nothing of itself", async () => {
  await using hub = await startTaskTest();
  const errors: Record<string, Error> = {
    failure: new TaskFailure("DOCUMENT_CORRUPT", "The document cannot be read."),
    request: new RequestError("RESOURCE_NOT_FOUND", "There is no such file."),
    bug: new TypeError("secret is not a function"),
  };
  hub.start(async ({ task }) => Promise.reject(errors[String(task.options.by)]));
  const codeOf = async (by: string) => {
    const { taskId } = await hub.create({ options: { by } });
    return (await reaches(hub, taskId, "failed")).error;
  };
  assert.deepEqual(await codeOf("failure"), { code: "DOCUMENT_CORRUPT", message: "The document cannot be read." });
  assert.deepEqual(await codeOf("request"), { code: "RESOURCE_NOT_FOUND", message: "There is no such file." });
  const bug = await codeOf("bug");
  assert.equal(bug!.code, "INTERNAL");
  assert.doesNotMatch(bug!.message, /secret/);
});

test("what cannot be used now delays a task, visibly and longer each time, until its kind has no patience left", async () => {
  await using hub = await startTaskTest();
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs };
  const waits: number[] = [];
  let runs = 0;
  const runner = hub.start(
    async () => {
      runs += 1;
      throw new TryLater("SCANNER_UNAVAILABLE", "The scanner does not respond.", { afterMs: 60_000 });
    },
    { clock, patienceMs: 10 * 60_000 },
  );
  const { taskId } = await hub.create({}, clock);
  for (let count = 1; count <= 3; count += 1) {
    const before = clock.now();
    const waiting = await until("it waits", async () => {
      await runner.poll();
      const task = await hub.find(taskId);
      return task.waits === count && task;
    });
    assert.deepEqual(
      [waiting.status, waiting.error],
      ["pending", { code: "SCANNER_UNAVAILABLE", message: "The scanner does not respond." }],
    );
    waits.push(Math.round((waiting.run_at.getTime() - before) / 60_000));
    assert.equal(runs, count);
    aheadMs = waiting.run_at.getTime() - Date.now();
  }
  assert.deepEqual(waits, [1, 2, 4]);
  const { error } = await reaches(hub, taskId, "failed");
  assert.equal(error!.code, "SCANNER_UNAVAILABLE");
  assert.equal(runs, 4);
});

test("trouble of the database or the object store delays a task, and does not count against it", async () => {
  await using hub = await startTaskTest();
  let runs = 0;
  hub.start(async () => {
    runs += 1;
    if (runs === 1) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    if (runs === 2) throw new RequestError("OVERLOADED", "The store of files cannot be used now.");
    return { runs };
  });
  const { taskId } = await hub.create();
  const { result, crashes, waits } = await reaches(hub, taskId, "completed");
  assert.deepEqual([result, crashes, waits], [{ runs: 3 }, 0, 2]);
});

// Otherwise a document that ends the process that reads it would end one process after the other, forever.
test("when its process is killed, another one runs the task again; after three such ends it fails", async () => {
  await using hub = await startTaskTest();
  const leaseMs = patient(500);
  const { taskId } = await hub.create();
  const killWithTask = async () => {
    await using process = startProcess(hub.url, leaseMs);
    assert.equal(await process.begins, taskId);
    await until("its progress is stored", async () => (await hub.find(taskId)).progress === 40);
  };
  await killWithTask();
  await killWithTask();
  assert.equal((await hub.find(taskId)).crashes, 1);
  const steps = openSteps();
  const runner = hub.start(steps.begin, { leaseMs });
  await until("it runs here", () => steps.started.length === 1);
  const { crashes, status, progress } = await hub.find(taskId);
  assert.deepEqual([crashes, status, progress], [2, "running", 40]);
  // As if this process had been killed as well: nothing renews its lease.
  await runner.close();
  assert.equal((await hub.find(taskId)).crashes, 2, "a stop is no crash");
  await killWithTask();
  hub.start(async () => assert.fail("it runs a fourth time"), { leaseMs });
  const { error } = await reaches(hub, taskId, "failed");
  assert.equal(error!.code, "TASK_CRASHED");
});

function startProcess(url: string, leaseMs: number) {
  const child = fork(taskProgram, [url, String(leaseMs)], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const exited = once(child, "exit");
  return {
    begins: once(child, "message").then(([taskId]) => taskId as string),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

test("a process that was suspended for longer than its lease stores nothing of a task that another one runs", async () => {
  await using hub = await startTaskTest();
  const [late, steps] = [openSteps(), openSteps()];
  const { taskId } = await hub.create();
  const suspended: Clock = { ...systemClock, after: () => () => {} };
  const runner = hub.start(late.begin, { clock: suspended, concurrency: 1 });
  await runner.poll();
  await until("it runs", () => late.started.length === 1);
  await run(hub.pool, "UPDATE tasks SET leased_until = now() - interval '1 second'");
  hub.start(steps.begin, { concurrency: 1 });
  await until("it runs in the other process", () => steps.started.length === 1);
  await hub.create({ options: { next: true } });
  late.started[0]!.end({ from: "the late one" });
  await until("the late process is done with it", () => late.started.length === 2);
  assert.equal((await hub.find(taskId)).status, "running");
  steps.started[0]!.end({ from: "the owner" });
  assert.deepEqual((await reaches(hub, taskId, "completed")).result, { from: "the owner" });
});

test("a lease does not last longer when the database's clock was set back", async () => {
  await using hub = await startTaskTest();
  const { taskId } = await hub.create();
  await run(
    hub.pool,
    `UPDATE tasks SET status = 'running', owner_id = task_id, leased_until = now() + interval '1 hour'`,
  );
  hub.start(async () => null);
  assert.equal((await reaches(hub, taskId, "completed")).crashes, 1);
});

test("a stop gives tasks back, and another process runs them at once", async () => {
  await using hub = await startTaskTest();
  const [first, second] = [openSteps(), openSteps()];
  const runner = hub.start(first.begin);
  const { taskId } = await hub.create();
  await until("it runs", () => first.started.length === 1);
  await runner.close();
  const given = await hub.find(taskId);
  assert.deepEqual([given.status, given.crashes], ["pending", 0]);
  assert.ok(first.started[0]!.run.signal.aborted);
  hub.start(second.begin);
  await until("it runs in the other process", () => second.started.length === 1);
});

test("a kind can write in the transaction that ends its task, or keeps it from ending", async () => {
  await using hub = await startTaskTest();
  const ends: unknown[] = [];
  hub.start(async () => ({ pages: 3 }), {
    ended: async (tx, { taskId }, end) => {
      ends.push([taskId, end]);
      await run(tx, "UPDATE workspaces SET name = 'written by a task'");
      if (ends.length === 2) throw Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    },
  });
  const first = await hub.create();
  await reaches(hub, first.taskId, "completed");
  assert.deepEqual(ends, [[first.taskId, { status: "completed", result: { pages: 3 } }]]);
  const { rows } = await hub.pool.query("SELECT name FROM workspaces");
  assert.equal(rows[0].name, "written by a task");
  const second = await hub.create();
  await reaches(hub, second.taskId, "completed");
  assert.equal(ends.length, 3);
});

test("a task of a kind that this process does not know is left to others", async () => {
  await using hub = await startTaskTest();
  const unknown = await hub.create({ kind: "newer" });
  const runner = hub.start(async () => null);
  const known = await hub.create();
  await reaches(hub, known.taskId, "completed");
  await runner.poll();
  assert.equal((await hub.find(unknown.taskId)).status, "pending");
});

test("tasks that ended long ago are deleted", async () => {
  await using hub = await startTaskTest();
  hub.start(async () => null);
  const { taskId } = await hub.create();
  await reaches(hub, taskId, "completed");
  const waiting = await hub.create({ kind: "newer" });
  const deps = { db: hub.pipelineDb, clock: { ...systemClock, now: () => Date.now() + 60_000 } };
  assert.equal(await deleteOldTasks(deps, 3_600_000), 0);
  assert.equal(await deleteOldTasks(deps, 30_000), 1);
  assert.equal((await hub.find(waiting.taskId)).status, "pending");
});

test("what was read of a file goes with the file, also when the task ends afterwards", async () => {
  await using hub = await startTaskTest();
  const steps = openSteps();
  const fileId = await hub.addFile();
  const [before, after] = [await hub.create({ fileId }), await hub.create({ fileId, options: { words: 10 } })];
  const other = await hub.create({ fileId: await hub.addFile() });
  hub.start(steps.begin);
  await until("all run", () => steps.started.length === 3);
  const end = (taskId: string) => steps.started.find(({ run }) => run.task.taskId === taskId)!.end({ text: "secret" });
  end(before.taskId);
  end(other.taskId);
  for (const { taskId } of [before, other]) await reaches(hub, taskId, "completed");
  await run(hub.pool, "UPDATE files SET status = 'deleted' WHERE file_id = $1", [fileId]);
  end(after.taskId);
  assert.equal((await reaches(hub, after.taskId, "completed")).result, null);
  assert.equal(await deleteTasksOfDeletedFiles({ db: hub.pipelineDb }), 2);
  assert.deepEqual((await hub.find(other.taskId)).result, { text: "secret" });
});
