/** The entrance of tasks: long work in the background, with progress, a result, and an end. */
export { deleteOldTasks, deleteTasksOfDeletedFiles } from "./claims.ts";
export { createTask, type NewTask } from "./create-task.ts";
export { extractKind, requestExtract } from "./extract/extract.ts";
export { factsKind } from "./facts/facts.ts";
export { fetchKind, requestFetch } from "./fetch/fetch.ts";
export { openFileTasks } from "./file-tasks.ts";
export { scanKind } from "./scan/scan.ts";
export { requestSummary, summarizeKind } from "./summarize/summarize.ts";
export {
  type Task,
  type TaskEnd,
  type TaskError,
  TaskFailure,
  type TaskKind,
  type TaskRun,
  type TaskStatus,
  TryLater,
} from "./task.ts";
export { openTaskNotifier, type TaskNotifier } from "./task-notifier.ts";
export {
  cancelTask,
  findTask,
  listTasks,
  mayWatch,
  readResult,
  readTasks,
  showTask,
  type TaskRow,
} from "./task-rows.ts";
export { TaskRunner, type TaskRunnerDeps } from "./task-runner.ts";
