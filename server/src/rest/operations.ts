import { health } from "../../../contract/src/health.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { SettingWarning } from "../lib/postgres-warnings.ts";
import { docsPages } from "./docs-pages.ts";
import { type MetricsDeps, metricsRoute } from "./metrics.ts";

export interface Dependency {
  name: string;
  /** Resolves with warnings; rejects when the dependency cannot be used. */
  check: () => Promise<readonly SettingWarning[]>;
  /** The hub works without it: `/readyz` shows it, and stays 200. */
  isOptional?: boolean;
}

export interface OperationDeps extends MetricsDeps {
  dependencies: readonly Dependency[];
  phase: () => "starting" | "ready" | "draining";
}

const checkTimeoutMs = 2_000;

/** `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/docs`, `/redoc`, and `/`, which leads to `/docs`. */
export function operationRoutes(app: App, deps: OperationDeps): void {
  const { dependencies, troubles, phase } = deps;
  route(app, health.getLiveness, () => ({ status: "alive" }));

  route(app, health.getReadiness, async (_request, reply) => {
    const checked = await Promise.all(dependencies.map(stateOf));
    const isUp = checked.every(({ state }, index) => state === "up" || dependencies[index]!.isOptional === true);
    const found = troubles.list();
    const isStalled = found.some((one) => one.isStalled && !one.isMinor);
    const status = phase() === "ready" && (!isUp || isStalled) ? "unavailable" : phase();
    reply.status(status === "ready" ? 200 : 503);
    if (status !== "ready") reply.header("retry-after", "1");
    return {
      status,
      dependencies: Object.fromEntries(checked.map(({ name, warnings: _, ...state }) => [name, state])),
      troubles: found.map(({ part, code, since, failures, isStalled }) => {
        return { part, code, since: since.toISOString(), failures, is_stalled: isStalled };
      }),
      warnings: checked.flatMap(({ warnings }) => warnings),
    };
  });

  metricsRoute(app, deps);

  const hidden = { config: { access: "public", admission: "always" } } as const;
  app.get("/", hidden, async ({ headers: { accept = "" } }, reply) =>
    accept.includes("text/html") ? reply.redirect("/docs") : entryPoints,
  );
  docsPages(app);
}

const entryPoints = {
  name: "Chat4All",
  openapi_url: "/openapi.json",
  docs_url: "/docs",
  health_url: "/healthz",
  readiness_url: "/readyz",
};

interface Checked {
  name: string;
  state: "up" | "down";
  detail?: string;
  warnings: readonly SettingWarning[];
}

async function stateOf({ name, check }: Dependency): Promise<Checked> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("no response in time")), checkTimeoutMs);
  });
  try {
    const warnings = await Promise.race([check(), timeout]);
    return { name, state: "up", warnings };
  } catch (error) {
    return { name, state: "down", detail: error instanceof Error ? error.message : "unknown", warnings: [] };
  } finally {
    clearTimeout(timer);
  }
}
