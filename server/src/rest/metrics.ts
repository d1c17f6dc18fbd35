import { createRequire } from "node:module";
import type prometheus from "prom-client";
import { health } from "../../../contract/src/health.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { Troubles } from "../lib/troubles.ts";

export interface MetricsDeps {
  troubles: Pick<Troubles, "list" | "counts">;
  /** How many records wait for each step of a message's path, by the step's name. */
  backlog: ReadonlyMap<string, number>;
  /** The number of channel accounts that their platforms refuse; rejects while the database does not respond. */
  needingAttention: () => Promise<number>;
}

type Prometheus = Pick<typeof prometheus, "Counter" | "Gauge" | "Registry">;

/** Loaded at the first request, and only in parts: loading the whole library blocks the event loop for 30 ms. */
function loadPrometheus(): Prometheus {
  const load = createRequire(import.meta.url);
  const [Counter, Gauge, Registry] = ["counter", "gauge", "registry"].map((name) => load(`prom-client/lib/${name}`));
  return { Counter, Gauge, Registry };
}

/** `/metrics`, in the text format of Prometheus. It contains nothing about workspaces. */
export function metricsRoute(app: App, deps: MetricsDeps): void {
  route(app, health.getMetrics, async (_request, reply) => {
    const { Counter, Gauge, Registry } = loadPrometheus();
    const registry = new Registry();
    const registers = [registry];
    const failures = new Counter({
      name: "chat4all_part_failures_total",
      help: "How often a part of the hub failed and retried",
      labelNames: ["part", "code"],
      registers,
    });
    const troubled = new Gauge({
      name: "chat4all_part_trouble_seconds",
      help: "For how long a part of the hub has failed, or has not moved: its work waits",
      labelNames: ["part", "code"],
      registers,
    });
    const waiting = new Gauge({
      name: "chat4all_waiting",
      help: "Records that wait before a step of a message's path, and lanes of this process with something to send",
      labelNames: ["part"],
      registers,
    });
    const needingAttention = await deps.needingAttention().catch(() => null);
    if (needingAttention !== null) {
      const name = "chat4all_channel_accounts_needing_attention";
      const help = "Channel accounts that their platforms refuse: messages to be sent over them wait";
      new Gauge({ name, help, registers }).set(needingAttention);
    }
    const load = app.load();
    new Counter({
      name: "chat4all_refused_requests_total",
      help: "Requests that were refused because of overload",
      registers,
    }).inc(load.refused);
    new Gauge({ name: "chat4all_requests", help: "Requests under way", registers }).set(load.underWay);
    new Gauge({ name: "chat4all_requests_limit", help: "Requests that may be under way", registers }).set(load.limit);
    for (const { part, code, failures: count } of deps.troubles.counts()) failures.inc({ part, code }, count);
    for (const { part, code, lastedMs } of deps.troubles.list()) {
      troubled.set({ part, code }, lastedMs / 1_000);
    }
    for (const [part, count] of deps.backlog) waiting.set({ part }, count);
    reply.type(registry.contentType);
    return registry.metrics();
  });
}
