import type { PoolClient } from "../lib/postgres.ts";

export type TaskStatus = "pending" | "running" | "completed" | "failed" | "cancelled";

export interface TaskError {
  code: string;
  /** Public. */
  message: string;
}

export type TaskOptions = Readonly<Record<string, unknown>>;

/** What a run of a task works on. */
export interface Task {
  taskId: string;
  workspaceId: string;
  /** Null: the hub's own work. */
  userId: string | null;
  fileId: string | null;
  options: TaskOptions;
}

export interface TaskRun {
  task: Task;
  /** Aborts when the task is cancelled, takes longer than its `timeoutMs`, or this process stops. End then. */
  signal: AbortSignal;
  /** From 0 to 100, as often as you like: it is stored once a second, and only upwards. */
  progress(percent: number): void;
}

/** How a task ended for good. */
export type TaskEnd = { status: "completed"; result: object | null } | { status: "failed"; error: TaskError };

/** One kind of task. It may run twice: a run ends with its process, and the task then runs again. */
export interface TaskKind {
  kind: string;
  /** How long one run may take; then the task is failed with TASK_TIMEOUT. In milliseconds. */
  timeoutMs: number;
  /** How long a task may wait by `TryLater` after it was created; then it is failed. In milliseconds. */
  patienceMs: number;
  /**
   * Returns the result, which is stored as JSON. Throws `TaskFailure` and `TryLater`; a `RequestError` counts as one of the
   * two, and so do errors of the database. Any other error is a bug: INTERNAL.
   */
  run(run: TaskRun): Promise<object | null>;
  /** In the transaction that ends the task, completed or failed. It comes before the locks of the feed. */
  ended?(tx: PoolClient, task: Task, end: TaskEnd): Promise<void>;
}

/** The task can never succeed. `message` is public. */
export class TaskFailure extends Error {
  override readonly name = "TaskFailure";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What the task needs cannot be used now. It is pending meanwhile, and shows the code and the public message. */
export class TryLater extends Error {
  override readonly name = "TryLater";
  readonly code: string;
  /** Before the next run, in milliseconds; doubled each time, up to 5 minutes. */
  readonly afterMs: number;

  constructor(
    code: string,
    message: string,
    { afterMs = 1_000, ...options }: { afterMs?: number } & ErrorOptions = {},
  ) {
    super(message, options);
    this.code = code;
    this.afterMs = afterMs;
  }
}
