import type { FastifyReply } from "fastify";
import { documents, tasks } from "../../../contract/src/tasks.ts";
import { RequestError } from "../errors.ts";
import type { App } from "../http/app.ts";
import { decodeCursor, toPage } from "../http/pages.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import {
  cancelTask,
  findTask,
  listTasks,
  readResult,
  requestExtract,
  requestSummary,
  showTask,
  type TaskNotifier,
} from "../tasks/tasks.ts";

interface TaskRoutesDeps {
  clock: Clock;
  taskNotifier: TaskNotifier;
}

/** `/v1/documents` starts tasks, `/v1/tasks` shows and cancels them. */
export function taskRoutes(app: App, { clock, taskNotifier }: TaskRoutesDeps): void {
  route(app, documents.extractDocument, async ({ principal, db, params }) => {
    const { taskId, status } = await requestExtract({ clock }, db, principal, params.id);
    taskNotifier.due();
    return { task_id: taskId, status };
  });

  route(app, documents.summarizeDocument, async ({ principal, db, params, body }) => {
    const { taskId, status } = await requestSummary({ clock }, db, principal, params.id, body);
    taskNotifier.due();
    return { task_id: taskId, status };
  });

  route(app, tasks.listTasks, async ({ principal, db, query: { limit = 50, cursor, status, task_type, file_id } }) => {
    const filters = { status, kind: task_type, fileId: file_id };
    const rows = await listTasks(db, principal, { limit: limit + 1, after: decodeCursor(cursor), ...filters });
    return toPage(rows, limit, showTask, (row) => ({ at: row.created_at, id: row.task_id }));
  });

  const places = openPlaces();
  route(
    app,
    tasks.getTask,
    async ({ principal, db, params }, reply) => {
      const { resultBytes, ...task } = await findTask(db, principal, params.id);
      if (resultBytes > smallBytes) places.take(reply);
      const result = resultBytes === 0 ? null : await readResult(db, params.id);
      return { ...showTask(task), result };
    },
    { serializerCompiler: () => withJson },
  );

  route(app, tasks.cancelTask, async ({ principal, db, params }) => {
    const task = await cancelTask(db, principal, params.id, new Date(clock.now()));
    taskNotifier.due();
    taskNotifier.changed(task.task_id);
    return showTask(task);
  });
}

/** A result up to this size, in bytes, is like any other response. */
const smallBytes = 1024 * 1024;
/** Larger results that are in memory at once, until their clients have read them. */
const maxLargeResults = 8;

function openPlaces() {
  let taken = 0;
  return {
    /** OVERLOADED when there is none. It is free again when the response has ended. */
    take({ raw }: FastifyReply): void {
      if (taken >= maxLargeResults) {
        throw new RequestError("OVERLOADED", "Many large results are being read. Try again.", { retryAfterSeconds: 1 });
      }
      taken += 1;
      raw.once("close", () => (taken -= 1));
    },
  };
}

/** Writes the result, which is JSON already, as it is. */
function withJson(body: unknown): string {
  const { result, ...fields } = body as { result?: string | null };
  if (result === undefined) return JSON.stringify(body);
  return `${JSON.stringify(fields).slice(0, -1)},"result":${result ?? "null"}}`;
}
