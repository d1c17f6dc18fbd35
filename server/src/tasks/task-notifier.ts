import type { Clock } from "../lib/clock.ts";
import type { Fanout } from "../lib/fanout/fanout.ts";
import { openNotifier } from "../lib/fanout/notifier.ts";

/** Notifies all processes, after the commit. Notifications can be lost, so poll too. */
export interface TaskNotifier {
  /** Tasks are due or were cancelled: processes that run tasks look at once. */
  due(): void;
  onDue(listener: () => void): () => void;
  /** What is shown of the task has changed. */
  changed(taskId: string): void;
  /** The listener gets null when any task may have changed. */
  onChanged(listener: (taskId: string | null) => void): () => void;
}

const dueKey = "due";

export function openTaskNotifier(deps: { fanout: Fanout; clock: Clock }): TaskNotifier {
  const notifier = openNotifier({ ...deps, channel: "tasks" });
  return {
    due: () => notifier.notify(dueKey),
    changed: (taskId) => notifier.notify(taskId),
    onDue: (listener) => notifier.subscribe((key) => void ((key === null || key === dueKey) && listener())),
    onChanged: (listener) => notifier.subscribe((key) => void (key !== dueKey && listener(key))),
  };
}
