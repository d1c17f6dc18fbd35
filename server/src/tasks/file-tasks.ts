import type { FileTasks } from "../files/files.ts";
import type { Clock } from "../lib/clock.ts";
import { requestFacts } from "./facts/facts.ts";
import { requestScan } from "./scan/scan.ts";
import type { TaskNotifier } from "./task-notifier.ts";

/** The tasks that follow from changes of files. */
export function openFileTasks({ clock, taskNotifier }: { clock: Clock; taskNotifier: TaskNotifier }): FileTasks {
  return {
    scan: (tx, file) => requestScan({ clock }, tx, file),
    describe: (tx, file) => requestFacts({ clock }, tx, file),
    due: () => taskNotifier.due(),
  };
}
