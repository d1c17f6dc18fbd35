/** A process that runs tasks and never closes: tests kill it. Reports to its parent when a task has started; none ends. */

import { openDatabases } from "../databases.ts";
import { startRunner } from "./test-tasks.ts";

const [url, leaseMs] = process.argv.slice(2) as [string, string];
const { pipelineDb } = openDatabases({ url, size: 4, log: { info() {}, warn() {}, error() {} } });
const hang = ({ task, progress }: Parameters<Parameters<typeof startRunner>[1]>[0]) => {
  progress(40);
  process.send?.(task.taskId);
  return new Promise<null>(() => {});
};
startRunner(pipelineDb, hang, { leaseMs: Number(leaseMs) });
setInterval(() => {}, 1_000);
process.on("disconnect", () => process.exit());
