import { stats } from "../../../contract/src/stats.ts";
import type { PipelineDb } from "../database-roles.ts";
import type { App } from "../http/app.ts";
import { route } from "../http/route.ts";
import type { Clock } from "../lib/clock.ts";
import { readStats, type Stats } from "../stats/stats.ts";

const periodsMs = { "24h": 24 * 3_600_000, "7d": 7 * 24 * 3_600_000, "30d": 30 * 24 * 3_600_000 };

/** `/v1/stats`, for admins. `pipelineDb` only says which hours were counted. */
export function statsRoutes(app: App, deps: { pipelineDb: PipelineDb; clock: Clock }): void {
  route(app, stats.getStats, async ({ principal, db, query: { period = "24h" } }) => ({
    period,
    ...showStats(await readStats(deps, db, principal.workspaceId, periodsMs[period])),
  }));
}

function showStats({ since, until, messages, deliveries, files, tasks, tokens }: Stats) {
  const minutes = (until.getTime() - since.getTime()) / 60_000;
  const total = sumOf(messages);
  const byChannel = Map.groupBy(deliveries, ({ channel }) => channel);
  const countOf = (status: string) => sumOf(tasks.filter((one) => one.status === status));
  return {
    since: since.toISOString(),
    until: until.toISOString(),
    messages: {
      total,
      per_minute: minutes > 0 ? rounded(total / minutes) : 0,
      by_channel: messages.map((one) => ({ ...one, direction: one.direction as "inbound" | "outbound" })),
    },
    deliveries: {
      total: sumOf(deliveries),
      by_channel: [...byChannel].map(([channel, counts]) => showChannel(channel, counts)),
    },
    files,
    llm_tokens: tokens,
    tasks: {
      pending: countOf("pending"),
      running: countOf("running"),
      completed: countOf("completed"),
      failed: countOf("failed"),
      cancelled: countOf("cancelled"),
    },
  };
}

function showChannel(channel: string, counts: Stats["deliveries"]) {
  const of = (...statuses: string[]) => sumOf(counts.filter(({ status }) => statuses.includes(status)));
  const total = sumOf(counts);
  const rate = (count: number) => (total === 0 ? null : rounded(count / total));
  return {
    channel,
    total,
    accepted: of("accepted"),
    in_transit: of("in_transit"),
    sent: of("sent"),
    delivered: of("delivered"),
    read: of("read"),
    failed: of("failed"),
    delivered_rate: rate(of("delivered", "read")),
    read_rate: rate(of("read")),
    failed_rate: rate(of("failed")),
  };
}

function sumOf(counts: readonly { count: number }[]): number {
  return counts.reduce((sum, { count }) => sum + count, 0);
}

function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
