import type { PipelineDb } from "../database-roles.ts";
import { RequestError } from "../errors.ts";
import type { EventNotifier } from "../events/events.ts";
import { doubledMs } from "../lib/backoff.ts";
import { type Clock, pause } from "../lib/clock.ts";
import { isRecordFault } from "../lib/faults.ts";
import { newId } from "../lib/ids.ts";
import type { Log } from "../lib/postgres.ts";
import { type Repeated, repeat } from "../lib/repeat.ts";
import { thisProcess } from "../lib/this-process.ts";
import type { Troubles } from "../lib/troubles.ts";
import {
  type ChangedTask,
  type ClaimedTask,
  claimDue,
  endTask,
  freeAbandoned,
  giveBack,
  putOff,
  renewLeases,
} from "./claims.ts";
import { type TaskEnd, type TaskError, TaskFailure, type TaskKind, TryLater } from "./task.ts";
import type { TaskNotifier } from "./task-notifier.ts";

export interface TaskRunnerDeps {
  db: PipelineDb;
  clock: Clock;
  log: Log;
  troubles: Troubles;
  taskNotifier: TaskNotifier;
  eventNotifier: EventNotifier;
  kinds: readonly TaskKind[];
  /** How long a task stays assigned to a process that does not respond, in milliseconds. */
  leaseMs: number;
  /** The most tasks that this process runs at once. */
  concurrency: number;
  /** The most running tasks of these kinds of a user, or of a workspace's own work, in all processes. */
  perUser: number;
}

/** How a run ended; null when the task is not this process's own any more. */
type RunEnd = TaskEnd | { status: "waiting"; error: TaskError; afterMs: number } | null;

interface Run {
  task: ClaimedTask;
  kind: TaskKind;
  percent: number;
  /** What of it is stored, in whole percent, and since when. */
  shown: number;
  shownAt: number;
  abort: AbortController;
}

const part = "run tasks";
/** Finds what is due without a notification. */
const pollEveryMs = 1_000;
/** The least time between two changes of a task's progress. */
const progressEveryMs = 1_000;
const retryPauseMs = 1_000;
const longestWaitMs = 5 * 60_000;
/** Runs that end with their process, until the task is failed: it may be what ends them. */
const maxCrashes = 3;
/** How long a stop waits for runs to end; what is left of them changes nothing any more. */
const closeGraceMs = 2_000;

/** The reasons of signals after which nothing is written. */
const lost = new Error("The task was cancelled, or another process runs it.");
const stopping = new Error("This process stops, and another one runs the task.");

/**
 * Runs what is due in `tasks`. Any number of processes may have one, or several for different kinds: each claims tasks under its own owner id, for as long
 * as it renews their leases. The tasks of a process that ended run again, at most `maxCrashes` times.
 */
export class TaskRunner {
  readonly #deps: TaskRunnerDeps;
  readonly #ownerId: string;
  readonly #kinds: ReadonlyMap<string, TaskKind>;
  readonly #runs = new Map<string, Run>();
  readonly #ending = new AbortController();
  readonly #polling: Repeated;
  readonly #unsubscribe: () => void;
  #freedAt = Number.NEGATIVE_INFINITY;
  #onIdle = () => {};

  constructor(deps: TaskRunnerDeps) {
    const { clock, log, troubles, leaseMs, taskNotifier } = deps;
    this.#deps = deps;
    this.#ownerId = newId(clock.now());
    this.#kinds = new Map(deps.kinds.map((kind) => [kind.kind, kind]));
    const kinds = [...this.#kinds.keys()];
    log.info({ owner: this.#ownerId, kinds, ...thisProcess }, "tasks: this process runs tasks");
    this.#polling = repeat(
      clock,
      Math.min(pollEveryMs, leaseMs / 4),
      () => this.poll(),
      (error) => troubles.failed(part, error),
    );
    this.#unsubscribe = taskNotifier.onDue(() => this.#polling.wake());
  }

  /** Keeps what this process runs, and starts what is due. Runs every second without a call. */
  async poll(): Promise<void> {
    const { db, clock, troubles, leaseMs, concurrency, perUser, log } = this.#deps;
    await this.#renew();
    if (clock.elapsed() - this.#freedAt >= pollEveryMs / 2) {
      this.#freedAt = clock.elapsed();
      const freed = await freeAbandoned(db, leaseMs);
      if (freed.length > 0) log.warn({ tasks: freed.length }, "tasks: took over the tasks of an ended process");
      this.#notify(freed);
    }
    const limit = concurrency - this.#runs.size;
    if (limit > 0 && this.#kinds.size > 0 && !this.#ending.signal.aborted) {
      const kinds = [...this.#kinds.keys()];
      const now = new Date(clock.now());
      const claimed = await claimDue(db, { ownerId: this.#ownerId, now, leaseMs, kinds, limit, perUser });
      for (const task of claimed) void this.#run(task);
    }
    troubles.worked(part);
  }

  /** Aborts what runs here and gives it back: another process runs it from the start. */
  async close(): Promise<void> {
    const { db, clock, log, taskNotifier } = this.#deps;
    this.#ending.abort(stopping);
    this.#unsubscribe();
    await this.#polling.close();
    for (const { abort } of this.#runs.values()) abort.abort(stopping);
    try {
      this.#notify(await giveBack(db, this.#ownerId));
      taskNotifier.due();
    } catch (error) {
      log.warn({ err: error }, "tasks: they could not be given back, and run again when their leases are over");
    }
    const idle = new Promise<void>((resolve) => (this.#onIdle = resolve));
    if (this.#runs.size > 0) await Promise.race([idle, pause(clock, closeGraceMs)]);
  }

  async #renew(): Promise<void> {
    if (this.#runs.size === 0) return;
    const { db, clock, leaseMs } = this.#deps;
    const now = clock.elapsed();
    const progress = new Map<string, number>();
    for (const [taskId, run] of this.#runs) {
      const percent = Math.floor(run.percent);
      if (percent > run.shown && now - run.shownAt >= progressEveryMs) {
        run.shown = percent;
        run.shownAt = now;
      }
      progress.set(taskId, run.shown);
    }
    const own = await renewLeases(db, { ownerId: this.#ownerId, leaseMs }, progress);
    const kept = new Set(own.map(({ taskId }) => taskId));
    for (const taskId of progress.keys()) if (!kept.has(taskId)) this.#runs.get(taskId)?.abort.abort(lost);
    this.#notify(
      own.filter(({ hasMoved }) => hasMoved).map((one) => ({ task_id: one.taskId, workspace_id: one.workspaceId })),
    );
  }

  async #run(task: ClaimedTask): Promise<void> {
    const { clock } = this.#deps;
    const kind = this.#kinds.get(task.kind)!;
    const abort = new AbortController();
    const run: Run = { task, kind, percent: 0, shown: 0, shownAt: Number.NEGATIVE_INFINITY, abort };
    this.#runs.set(task.taskId, run);
    this.#notify([{ task_id: task.taskId, workspace_id: task.workspaceId }]);
    const cancelTimeout = clock.after(kind.timeoutMs, () => abort.abort(tooLong(kind)));
    const running = this.#start(run);
    const end = await Promise.race([running, aborted(abort.signal)]).then(
      (result): RunEnd => ({ status: "completed", result }),
      (error) => this.#endByError(error, run),
    );
    cancelTimeout();
    if (end !== null) await this.#write(run, end);
    // What it has started ends before another task gets its place.
    await running.catch(() => {});
    this.#runs.delete(task.taskId);
    if (this.#runs.size === 0) this.#onIdle();
    this.#polling.wake();
  }

  async #start(run: Run): Promise<object | null> {
    const { taskId, workspaceId, userId, fileId, options, crashes } = run.task;
    if (crashes >= maxCrashes) throw crashed();
    return run.kind.run({
      task: { taskId, workspaceId, userId, fileId, options },
      signal: run.abort.signal,
      progress(percent) {
        // 100 is what a completed task has.
        if (percent > run.percent) run.percent = Math.min(percent, 99);
      },
    });
  }

  #endByError(error: unknown, { task, kind }: Run): RunEnd {
    const { clock, log, troubles } = this.#deps;
    if (error === lost || error === stopping) return null;
    if (error instanceof TaskFailure) return failed(error);
    const isExpected = error instanceof TryLater || error instanceof RequestError;
    if (error instanceof RequestError && error.code !== "OVERLOADED") return failed(error);
    if (!isExpected && isRecordFault(error)) {
      log.error({ err: error, task: task.taskId, kind: kind.kind }, "tasks: a task failed in the hub");
      return failed(internal());
    }
    if (!isExpected) troubles.failed(part, error);
    const { code, message } = isExpected ? error : unavailable();
    const afterMs = doubledMs({ firstMs: firstWaitMs(error), longestMs: longestWaitMs }, task.waits + 1);
    if (clock.now() + afterMs > task.createdAt.getTime() + kind.patienceMs) return failed({ code, message });
    return { status: "waiting", error: { code, message }, afterMs };
  }

  /** Retries until the database accepts it, or this process stops. */
  async #write({ task, kind }: Run, end: NonNullable<RunEnd>): Promise<void> {
    const { db, clock, log, troubles, taskNotifier } = this.#deps;
    const own = { taskId: task.taskId, ownerId: this.#ownerId };
    let hook: TaskKind["ended"] | null = kind.ended?.bind(kind);
    while (!this.#ending.signal.aborted) {
      try {
        const now = clock.now();
        const isWritten =
          end.status === "waiting"
            ? await putOff(db, own, { error: end.error, runAt: new Date(now + end.afterMs) })
            : await endTask(db, { ...own, now: new Date(now) }, end, (tx) => hook?.(tx, task, end as TaskEnd) ?? none);
        if (isWritten) this.#notify([{ task_id: task.taskId, workspace_id: task.workspaceId }]);
        // Another process may have room for the user's next task.
        taskNotifier.due();
        return;
      } catch (error) {
        if (isRecordFault(error)) {
          log.error({ err: error, task: task.taskId, kind: kind.kind }, "tasks: the end of a task could not be stored");
          if (hook === null) return;
          end = failed(internal());
          hook = null;
          continue;
        }
        troubles.failed(part, error);
        await pause(clock, retryPauseMs, this.#ending.signal);
      }
    }
  }

  #notify(changed: readonly ChangedTask[]): void {
    const { taskNotifier, eventNotifier } = this.#deps;
    for (const { task_id } of changed) taskNotifier.changed(task_id);
    for (const workspaceId of new Set(changed.map(({ workspace_id }) => workspace_id)))
      eventNotifier.notify(workspaceId);
  }
}

const none = Promise.resolve();

/** Rejects with the reason of the signal. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

function failed({ code, message }: TaskError): TaskEnd {
  return { status: "failed", error: { code, message } };
}

function firstWaitMs(error: unknown): number {
  if (error instanceof TryLater) return error.afterMs;
  return error instanceof RequestError ? (error.retryAfterSeconds ?? 1) * 1_000 : 1_000;
}

const tooLong = ({ timeoutMs }: TaskKind) =>
  new TaskFailure("TASK_TIMEOUT", `The task took longer than ${Math.round(timeoutMs / 1_000)} s.`);
const crashed = () =>
  new TaskFailure("TASK_CRASHED", `The process that ran the task ended ${maxCrashes} times: it may be the cause.`);
const internal = () => new TaskFailure("INTERNAL", "The task failed because of an error in the hub. Report it.");
const unavailable = () => new TaskFailure("OVERLOADED", "The hub cannot read or store data now. The task runs again.");
