import { openDatabases } from "../databases.ts";
import { openEventNotifier } from "../events/events.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import { openLocalFanout } from "../lib/fanout/local-fanout.ts";
import { newId } from "../lib/ids.ts";
import { type Log, transaction } from "../lib/postgres.ts";
import { all, run } from "../lib/query.ts";
import { openTroubles } from "../lib/troubles.ts";
import { createTask, type NewTask, openTaskNotifier, type TaskKind, type TaskRun, TaskRunner } from "../tasks/tasks.ts";
import { addUser, addWorkspace, openTestPool } from "./test-people.ts";

export interface StoredTask {
  task_id: string;
  status: string;
  progress: number;
  result: object | null;
  error: { code: string; message: string } | null;
  crashes: number;
  waits: number;
  started_at: Date | null;
  finished_at: Date | null;
  run_at: Date;
}

const quiet: Log = { info() {}, warn() {}, error() {} };

/** For tests: a database with a workspace, and processes that run tasks. */
export async function startTaskTest() {
  await using stack = new AsyncDisposableStack();
  const { pool, url } = stack.use(await openTestPool());
  const databases = stack.use(openDatabases({ url, size: 10, log: quiet }));
  const workspaceId = await addWorkspace(pool);
  const { userId } = await addUser(pool, workspaceId, "Ana");
  const opened = stack.move();
  return {
    url,
    pool,
    workspaceId,
    userId,
    ...databases,
    addUser: async (name: string) => (await addUser(pool, workspaceId, name)).userId,
    addWorkspace: (name: string) => addWorkspace(pool, name),
    async addFile(): Promise<string> {
      const fileId = newId(Date.now());
      await run(
        pool,
        `INSERT INTO files (file_id, workspace_id, uploaded_by, filename, bytes, status, part_bytes, created_at)
         VALUES ($1, $2, $2, 'a.txt', 1, 'completed', 5242880, now())`,
        [fileId, workspaceId],
      );
      return fileId;
    },
    create: (task: Partial<NewTask> = {}, clock: Clock = systemClock) =>
      transaction(pool, (tx) => createTask(tx, clock, { workspaceId, userId, kind: "test", ...task })),
    /** Starts a process that runs tasks; `run` is what it does for each. */
    start(run: (run: TaskRun) => Promise<object | null>, options: Partial<RunnerOptions> = {}) {
      return opened.adopt(startRunner(databases.pipelineDb, run, options), (runner) => runner.close());
    },
    async find(taskId: string): Promise<StoredTask> {
      return (await all<StoredTask>(pool, "SELECT * FROM tasks WHERE task_id = $1", [taskId]))[0]!;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

export interface RunnerOptions extends Partial<Omit<TaskKind, "run">> {
  clock: Clock;
  log: Log;
  leaseMs: number;
  concurrency: number;
  perUser: number;
}

export function startRunner(
  db: ConstructorParameters<typeof TaskRunner>[0]["db"],
  run: TaskKind["run"],
  options: Partial<RunnerOptions> = {},
): TaskRunner {
  const { clock = systemClock, log = quiet, leaseMs = 4_000, concurrency = 4, perUser = 4, ...ofKind } = options;
  const fanout = openLocalFanout(quiet);
  return new TaskRunner({
    db,
    clock,
    log,
    troubles: openTroubles({ clock, log }),
    taskNotifier: openTaskNotifier({ fanout, clock }),
    eventNotifier: openEventNotifier({ fanout, clock }),
    kinds: [{ kind: "test", timeoutMs: 60_000, patienceMs: 60_000, run, ...ofKind }],
    leaseMs,
    concurrency,
    perUser,
  });
}
