import { setTimeout as delay } from "node:timers/promises";
import { makeUsers } from "../hub/make-users.ts";
import { call } from "../hub/setup.ts";
import { checkAccepted, openStage } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMostTimes, type Measure, median } from "../measure.ts";
import { describeCpu } from "../watch/cpu.ts";

const people = 200;
const clients = 500;
const connections = 64;
const rounds = 3;
/** Modest: what is measured is what waiting costs, and not where the hub ends. */
const pace: Pace = { kind: "open", durationMs: 5_000, warmUpMs: 1_000, requestsPerSecond: 200 };

/**
 * How 500 people who log in at the same moment, each with an account and an address of their own, slow down others: p99
 * of accepting with them and without. A client that is refused waits as long as the response says; one who has logged in
 * logs in again.
 */
export const authLogins: Measure = {
  names: ["auth.logins"],
  async run(bench) {
    const stage = await openStage(bench, {
      roles: "api",
      people,
      env: { RATE_LIMIT_ADDRESS: "off", TRUST_PROXY: "1" },
    });
    const { hub, generator, authorization } = stage;
    const { workspace_id: workspaceId } = await call<{ workspace_id: string }>(hub.url, "/v1/me", authorization);
    const users = await makeUsers(hub, { workspaceId, role: "member", users: clients });
    const usernames = users.map(({ userId }) => userId);
    const traffic = stage.traffic(1);
    const seen = { alone: [] as number[], beside: [] as number[] };
    let accepted = 0;
    for (let round = 1; round <= rounds; round += 1) {
      const alone = await generator.run({ traffic, connections, pace });
      seen.alone.push(alone.latencyMs.p99);

      const crowd = startLogIns(hub.url, usernames, hub.adminPassword);
      const scene = { name: "auth.logins", hub, generatorPid: generator.pid };
      const { result, cpu, seconds } = await bench.observer.watch(scene, async () => {
        const load = await generator.run({ traffic, connections, pace });
        return { ...load, messages: load.accepted };
      });
      const { loggedIn, refused } = await crowd.stop();
      seen.beside.push(result.latencyMs.p99);
      accepted += alone.accepted + result.accepted;
      bench.progress(
        `round ${round}: p99 ${alone.latencyMs.p99.toFixed(2)} ms alone (longest ${alone.latencyMs.max.toFixed(2)}), ` +
          `${result.latencyMs.p99.toFixed(2)} ms beside logins (longest ${result.latencyMs.max.toFixed(2)}), ` +
          `${(loggedIn / seconds).toFixed(0)} logins a second, ${refused} sent back ` +
          `(${describeCpu(cpu, result.messages, seconds)})`,
      );
    }
    await checkAccepted(stage, accepted);
    return [atMostTimes({ name: "auth.logins", value: median(seen.beside), unit: "ms" }, median(seen.alone), 2)];
  },
};

function startLogIns(url: string, usernames: readonly string[], password: string) {
  const closing = new AbortController();
  const counts = { loggedIn: 0, refused: 0 };

  async function logInAgain(username: string, index: number): Promise<void> {
    const request = {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": `10.0.${Math.floor(index / 250)}.${(index % 250) + 1}`,
      },
      body: JSON.stringify({ username, password }),
    };
    while (!closing.signal.aborted) {
      const answer = await fetch(`${url}/auth/token`, request);
      await answer.arrayBuffer();
      if (answer.ok) counts.loggedIn += 1;
      else {
        if (answer.status !== 503) throw new Error(`a login got ${answer.status}`);
        counts.refused += 1;
        // People are not in step: they retry within the second after `retry-after`.
        const waitMs = (Number(answer.headers.get("retry-after")) + Math.random()) * 1_000;
        await delay(waitMs, undefined, { signal: closing.signal }).catch(() => {});
      }
    }
  }

  const running = usernames.map(logInAgain);
  return {
    async stop() {
      closing.abort();
      await Promise.all(running);
      return counts;
    },
  };
}
