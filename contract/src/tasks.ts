import { Type } from "typebox";
import { operations } from "./operation.ts";
import { closed, named, nullable, pageOf, pageQuery, time, uuid } from "./schemas.ts";

export const languagePattern = "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$";
export const modelPattern = "^[\\w./:@-]{1,200}$";

export const TaskStatus = named(
  "TaskStatus",
  Type.Enum(["pending", "running", "completed", "failed", "cancelled"], {
    description: "`pending`: it waits for its turn. The last three are final.",
  }),
);

const taskFields = {
  task_id: Type.String(),
  task_type: Type.String({
    description:
      "`extract` or `summarize`; for admins also the hub's own work: `fetch`, `facts` and `scan` of files. Later versions may add types.",
  }),
  status: TaskStatus,
  progress: Type.Integer({ minimum: 0, maximum: 100, description: "In percent; it never falls." }),
  user_id: nullable(Type.String(), { description: "The user who created it; null for the hub's own tasks." }),
  file_id: nullable(Type.String()),
  options: Type.Unsafe<Record<string, unknown>>({ type: "object", additionalProperties: true }),
  error: nullable(Type.Object({ code: Type.String(), message: Type.String() }), {
    description: "Why it failed; of a pending task, why it has to wait; else null.",
  }),
  created_at: time,
  started_at: nullable(time),
  finished_at: nullable(time),
};

const example = {
  task_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c12",
  task_type: "extract",
  status: "running" as const,
  progress: 40,
  user_id: "0197a7a4-1111-7d55-8a53-0d9c3f9a6c11",
  file_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c11",
  options: {},
  error: null,
  created_at: "2026-11-30T12:00:00.000Z",
  started_at: "2026-11-30T12:00:00.100Z",
  finished_at: null,
};

/** As lists, events and sockets show it. */
export const Task = named("Task", Type.Object(taskFields), example);

const ExtractedText = named(
  "ExtractedText",
  Type.Object({
    text: Type.String({ description: "At most 16 MiB. A document without text has an empty one." }),
    marks: Type.Array(
      Type.Object({
        kind: Type.Enum(["page", "sheet", "slide"]),
        number: Type.Integer({ description: "From 1, in the order of the document." }),
        title: Type.Optional(Type.String({ description: "The name of the sheet, or the title of the slide." })),
        offset: Type.Integer({ description: "Where it starts in the text, in UTF-16 code units." }),
      }),
      { description: "Where pages, sheets or slides start; empty for documents that have none." },
    ),
    language: nullable(Type.String(), { description: "An ISO 639-1 code; null when it cannot be said." }),
    words: Type.Integer(),
    pages: nullable(Type.Integer(), { description: "Pages, sheets or slides; null for documents that have none." }),
    title: nullable(Type.String()),
  }),
);

const DocumentSummary = named(
  "DocumentSummary",
  Type.Object({
    summary: Type.String({
      description:
        "Plain text, without links that are not in the document. It is written by a model: do not trust it more than the document.",
    }),
    key_points: Type.Array(Type.String(), { description: "At most 10." }),
    language: nullable(Type.String(), {
      description: "Of the summary; null when it is that of a document whose language cannot be said.",
    }),
    words: Type.Integer({ description: "Of the summary." }),
    model: Type.String({
      description:
        "The language model; `extractive` when the hub has none: then the summary consists of sentences of the document.",
    }),
    tokens: Type.Object({
      input: Type.Integer(),
      output: Type.Integer(),
      estimated: Type.Boolean({ description: "Whether the language model did not count them all." }),
    }),
    omitted_characters: Type.Integer({
      description: "How much of a long text was not sent to the language model, in UTF-16 code units.",
    }),
  }),
);

const results = [ExtractedText, DocumentSummary];

const TaskWithResult = named(
  "TaskWithResult",
  Type.Object({
    ...taskFields,
    result: Type.Unsafe<unknown>({
      anyOf: [...results, Type.Null()],
      description: "Of a completed task, by its type: `extract`: `ExtractedText`; `summarize`: `DocumentSummary`.",
    }),
  }),
  {
    ...example,
    status: "completed" as const,
    progress: 100,
    finished_at: "2026-11-30T12:00:01.000Z",
    result: { text: "Our offer …", marks: [], language: "en", words: 2, pages: null, title: "Our offer" },
  },
);

const SummaryRequest = named(
  "SummaryRequest",
  Type.Object(
    {
      language: Type.Optional(
        Type.String({
          pattern: languagePattern,
          description:
            "Of the summary, as in `pt` or `pt-BR`. Default: that of the document. An extractive summary is always in that of the document.",
        }),
      ),
      max_words: Type.Optional(
        Type.Integer({
          minimum: 20,
          maximum: 1_000,
          description: "Of the summary, without its key points. Default: 200.",
        }),
      ),
      style: Type.Optional(
        Type.Enum(["paragraph", "bullets", "brief"], {
          description:
            "`paragraph`, the default: running text. `bullets`: lines that begin with `- `. `brief`: one or two sentences, at most 60 words.",
        }),
      ),
      model: Type.Optional(
        Type.String({
          pattern: modelPattern,
          description:
            "Of the language model. Default: your `preferred_model`, else that of the hub. Without a language model it is ignored.",
        }),
      ),
    },
    closed,
  ),
  { style: "bullets", max_words: 100 },
);

const StartedTask = named("StartedTask", Type.Object({ task_id: Type.String(), status: TaskStatus }), {
  task_id: "0197a7a4-6a1c-7d55-8a53-0d9c3f9a6c12",
  status: "pending",
});

export const documents = operations("Documents", {
  extractDocument: {
    method: "POST",
    path: "/v1/documents/{id}/extract",
    summary: "Extract the text of a file",
    description:
      "`id` is that of a completed file: a PDF, an office document, HTML, an email, Markdown or another text, or an image of text. Starts a task, or returns " +
      "the one that you have under way for this file. Watch it at `/ws/tasks/{task_id}`, by its events, or with `GET /v1/tasks/{id}`, which also " +
      "has the result.",
    access: { role: "member", scope: ["tasks:write", "files:read"] },
    idempotent: true,
    shows: "all",
    answers: { 202: StartedTask },
    errors: [409, 413, 422],
  },
  summarizeDocument: {
    method: "POST",
    path: "/v1/documents/{id}/summarize",
    summary: "Summarize a file",
    description:
      "`id` is that of a file whose text can be extracted. Starts a task, or returns the one that you have under way for this file and these options. " +
      "Where the hub has a language model, the text is sent to it: with your own key (`llm_api_key`) if you have set one.",
    access: { role: "member", scope: ["tasks:write", "files:read"] },
    body: SummaryRequest,
    isBodyOptional: true,
    idempotent: true,
    shows: "all",
    answers: { 202: StartedTask },
    errors: [409, 413, 422],
  },
});

const read = { role: "member", scope: "tasks:read" } as const;

export const tasks = operations("Tasks", {
  listTasks: {
    method: "GET",
    path: "/v1/tasks",
    summary: "List tasks, newest first",
    description: "Your own; an admin sees all of the workspace. Without results.",
    access: read,
    query: Type.Object(
      {
        ...pageQuery,
        status: Type.Optional(TaskStatus),
        task_type: Type.Optional(Type.String({ minLength: 1, maxLength: 40 })),
        file_id: Type.Optional(uuid),
      },
      closed,
    ),
    answers: { 200: pageOf(Task) },
  },
  getTask: {
    method: "GET",
    path: "/v1/tasks/{id}",
    summary: "Get a task with its result",
    description: "The result may have more than 16 MiB. It is kept for `TASKS_RETENTION`.",
    access: read,
    answers: { 200: TaskWithResult },
  },
  cancelTask: {
    method: "POST",
    path: "/v1/tasks/{id}/cancel",
    summary: "Cancel a task",
    description: "A task that has ended gets 409 `TASK_ALREADY_COMPLETED`; a second call gets the same response.",
    access: { role: "member", scope: "tasks:write" },
    idempotent: true,
    shows: ["status"],
    answers: { 200: Task },
    errors: [409],
  },
});
