/** The entrance of tasks: long work in the background, with progress, a result, and an end. */
export { deleteOldTasks } from "./claims.ts";
export { createTask, type NewTask } from "./create-task.ts";
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
export { TaskRunner, type TaskRunnerDeps } from "./task-runner.ts";
