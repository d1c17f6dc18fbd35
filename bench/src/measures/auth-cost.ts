import { startChild } from "../child.ts";
import { makeUsers } from "../hub/make-users.ts";
import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { type Bench, compare, type Measure, row } from "../measure.ts";
import type { AcceptOrder } from "../reference/accept-process.ts";
import { takeTurns } from "../turns.ts";
import { describeCost, perCoreSecond } from "../watch/cpu.ts";
import { perSecond } from "./references.ts";

const connections = 64;
const warmUpMs = 200;
/** Of each process, until V8 has compiled what is hot; in turns of the plan. */
const firstTurns = 4;

/**
 * What it costs to know who calls and to hold workspaces apart: accepts with access tokens and row-level security, beside
 * the same parts with a principal that is given and a role for which no policy holds. Each runs in its own process.
 */
export const authCost: Measure = {
  names: ["auth.cost"],
  onlyWhenNamed: true,
  async run(bench) {
    const { pairs, turnMs: durationMs } = bench.plan;
    const stage = await bench.stage("accept");
    const { hub, generator, workspaceId } = stage;
    const sessions = await makeUsers(hub, { workspaceId, role: "agent", users: 1, sessionsEach: connections });
    const authorizations = sessions.map((session) => session.authorization);
    const order = { ...hub, workspaceId, userId: sessions[0]!.userId };
    const guarded = await startAccepting(bench, { ...order, isGuarded: true });
    const open = await startAccepting(bench, { ...order, isGuarded: false });
    const pace: Pace = { kind: "closed", durationMs, warmUpMs };
    const warmUp: Pace = { ...pace, durationMs: firstTurns * durationMs };
    const measure = async ({ url, pid }: { url: string; pid: number }, pace: Pace) => {
      const parts = { hub: pid, postmaster: hub.postmasterPid, simulator: null, generator: generator.pid };
      const watched = await bench.observer.meter(parts, async () => {
        const traffic = { ...stage.traffic(1), url, authorizations };
        const result = await generator.run({ traffic, connections, pace });
        return { ...result, messages: result.accepted };
      });
      stage.count(watched.messages);
      return watched;
    };
    for (const side of [guarded, open]) await measure(side, warmUp);
    const turns = await takeTurns(
      { guarded: () => measure(guarded, pace), open: () => measure(open, pace) },
      pairs,
      ({ guarded, open }, pair) =>
        bench.progress(
          `pair ${pair}: guarded ${perSecond(guarded).toFixed(0)}/s (${describeCost(guarded)}), ` +
            `open ${perSecond(open).toFixed(0)}/s (${describeCost(open)})`,
        ),
      { areWarm: true },
    );
    await checkAccepted(stage);
    const figures = compare(turns.guarded.map(perCoreSecond), turns.open.map(perCoreSecond));
    return [row({ name: "auth.cost", unit: "messages/core-s" }, figures)];
  },
};

async function startAccepting(bench: Bench, { databaseUrl, dataDir, workspaceId, userId, isGuarded }: AcceptOrder) {
  const child = bench.resources.use(await startChild("./reference/accept-process.ts"));
  const order: AcceptOrder = { databaseUrl, dataDir, workspaceId, userId, isGuarded };
  return { pid: child.pid, url: await child.ask<string>(order) };
}
