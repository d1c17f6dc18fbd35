import { startChild } from "../child.ts";
import { makeUsers } from "../hub/make-users.ts";
import { call } from "../hub/setup.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { type Bench, beside, type Measure, median } from "../measure.ts";
import type { AcceptOrder } from "../reference/accept-process.ts";
import { cpuOf } from "../watch/processes.ts";

const people = 200;
const connections = 64;
const rounds = 5;
const pace: Pace = { kind: "closed", durationMs: 2_000, warmUpMs: 300 };

/**
 * What it costs to know who calls and to hold workspaces apart: accepts with access tokens and row-level security, beside
 * the same parts with a principal that is given and a role for which no policy holds. Each runs in its own process.
 */
export const authCost: Measure = {
  names: ["auth.cost"],
  async run(bench) {
    const stage = await openStage(bench, { roles: "api", people });
    const { hub, generator, authorization } = stage;
    const { workspace_id: workspaceId } = await call<{ workspace_id: string }>(hub.url, "/v1/me", authorization);
    const sessions = await makeUsers(hub, { workspaceId, role: "agent", users: 1, sessionsEach: connections });
    const order = { ...hub, workspaceId, userId: sessions[0]!.userId };
    const guarded = await startAccepting(bench, { ...order, isGuarded: true });
    const open = await startAccepting(bench, { ...order, isGuarded: false });
    const seen = { guarded: [] as number[], open: [] as number[] };
    let accepted = 0;

    const measure = async ({ url, pid }: { url: string; pid: number }) => {
      const authorizations = sessions.map((session) => session.authorization);
      const before = cpuOf(pid);
      const load = await generator.run({ traffic: { ...stage.traffic(1), url, authorizations }, connections, pace });
      accepted += load.accepted;
      return { perSecond: load.measured / load.seconds, us: (cpuOf(pid) - before) / load.accepted };
    };
    for (let round = 1; round <= rounds; round += 1) {
      const own = await measure(guarded);
      const bare = await measure(open);
      seen.guarded.push(own.perSecond);
      seen.open.push(bare.perSecond);
      bench.progress(
        `round ${round}: guarded ${own.perSecond.toFixed(0)}/s (${own.us.toFixed(1)} µs), ` +
          `open ${bare.perSecond.toFixed(0)}/s (${bare.us.toFixed(1)} µs)`,
      );
    }
    await checkAccepted(stage, accepted);
    const value = median(seen.guarded);
    return [beside({ name: "auth.cost", value, unit: "messages/s" }, median(seen.open))];
  },
};

async function startAccepting(bench: Bench, { databaseUrl, dataDir, workspaceId, userId, isGuarded }: AcceptOrder) {
  const child = bench.resources.use(await startChild("./reference/accept-process.ts"));
  const order: AcceptOrder = { databaseUrl, dataDir, workspaceId, userId, isGuarded };
  return { pid: child.pid, url: await child.ask<string>(order) };
}
