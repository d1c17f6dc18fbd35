import { Type } from "typebox";
import { operations } from "./operation.ts";
import { named } from "./schemas.ts";

const Trouble = named(
  "Trouble",
  Type.Object({
    part: Type.String({
      description:
        "A step, such as `route message_processing`, a maintenance job, or `progress of` a step that does not move.",
    }),
    code: Type.String({
      description:
        "An SQLSTATE, a system error or the kind of error; for `progress of …`: `NO_PROGRESS`, or `NO_CONSUMER` when no " +
        "process does this work.",
    }),
    since: Type.String({ format: "date-time" }),
    failures: Type.Integer(),
    is_stalled: Type.Boolean({
      description: "Whether it lasts longer than a short conflict, so that the process is not ready.",
    }),
  }),
);

const Readiness = named(
  "Readiness",
  Type.Object({
    status: Type.String({ description: "`ready`, `starting`, `draining` or `unavailable`." }),
    dependencies: Type.Record(
      Type.String(),
      Type.Object({ state: Type.String({ description: "`up` or `down`." }), detail: Type.Optional(Type.String()) }),
    ),
    troubles: Type.Array(Trouble, {
      description: "Parts of this process that fail, and retry until they work.",
    }),
    warnings: Type.Array(Type.Object({ setting: Type.String(), detail: Type.String() }), {
      description:
        "Settings that lose data or slow the hub down, and `channel_accounts` while some need attention. They do not change " +
        "the status.",
    }),
  }),
  { status: "ready", dependencies: { postgres: { state: "up" } }, troubles: [], warnings: [] },
);

const Liveness = named("Liveness", Type.Object({ status: Type.String({ description: "`alive`." }) }), {
  status: "alive",
});

/** Of probes: never refused, and not counted. */
const open = { access: "public", limit: "none", admission: "always" } as const;

/** What operators ask a process. The responses say nothing about workspaces. */
export const health = operations("Operations", {
  getLiveness: {
    method: "GET",
    path: "/healthz",
    summary: "Check whether the process is alive",
    ...open,
    answers: { 200: Liveness },
  },
  getReadiness: {
    method: "GET",
    path: "/readyz",
    summary: "Check whether the process can take work",
    description: "Use it for the load balancer: 200 when the process is ready, else 503 with the reason.",
    ...open,
    answers: { 200: Readiness, 503: Readiness },
  },
  getMetrics: {
    method: "GET",
    path: "/metrics",
    summary: "Get the metrics of the process",
    description: "In the text format of Prometheus.",
    ...open,
    answers: { 200: Type.String({ description: "Metrics in the text format of Prometheus." }) },
    contentType: "text/plain",
  },
});
