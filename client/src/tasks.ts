import type * as api from "../../contract/openapi.ts";
import { bodyOf, type Call, type PageQuery, page } from "./call.ts";

export function documentCalls(call: Call) {
  return {
    /** Starts a task, or returns the one under way. */
    extract: (fileId: string) => bodyOf<api.StartedTask>(call, "POST", `/v1/documents/${fileId}/extract`),
    /** Starts a task, or returns the one under way with the same options. */
    summarize: (fileId: string, options: api.SummaryRequest = {}) =>
      bodyOf<api.StartedTask>(call, "POST", `/v1/documents/${fileId}/summarize`, { body: options }),
  };
}

export type TaskFilters = { status?: api.TaskStatus; task_type?: string; file_id?: string };

export function taskCalls(call: Call) {
  const path = "/v1/tasks";
  return {
    /** Newest first, without results. */
    list: (query?: PageQuery & TaskFilters) => page<api.Task>(call, path, query),
    get: (id: string) => bodyOf<api.TaskWithResult>(call, "GET", `${path}/${id}`),
    cancel: (id: string) => bodyOf<api.Task>(call, "POST", `${path}/${id}/cancel`),
  };
}
