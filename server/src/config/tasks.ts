import * as kind from "../lib/env-kinds.ts";
import type { EnvReader } from "../lib/env-reader.ts";

/** Tasks: how many run at once, and how long they are kept. */
export function readTasks(read: EnvReader) {
  return {
    concurrency: read.value(
      "TASKS_CONCURRENCY",
      kind.integer(1, 1_000),
      "4",
      "The most tasks that this process runs at once; one that reads a document may take 512 MiB of memory.",
    ),
    perUser: read.value(
      "TASKS_PER_USER",
      kind.integer(1, 1_000),
      "2",
      "The most running tasks of one user, in all processes; for the hub's own work, of one workspace.",
    ),
    retentionMs: read.value(
      "TASKS_RETENTION",
      kind.duration("1h", "3650d"),
      "30d",
      "How long tasks that ended are kept, with their results.",
    ),
  };
}
