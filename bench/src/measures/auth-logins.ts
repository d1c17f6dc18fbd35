import { setTimeout as delay } from "node:timers/promises";
import { makeUsers } from "../hub/make-users.ts";
import { checkAccepted } from "../hub/stage.ts";
import type { Pace } from "../load/run-load.ts";
import { atMostTimes, compare, type Measure, row } from "../measure.ts";
import { takeTurns } from "../turns.ts";
import { describeCost } from "../watch/cpu.ts";
import { partsOf } from "../watch/observer.ts";
import { settle } from "../watch/settle.ts";

const clients = 500;
const connections = 64;
/** Modest: what is measured is what waiting costs, and not where the hub ends. */
const requestsPerSecond = 200;
const warmUpMs = 300;
/** Fewer pairs than elsewhere: after each, the hub takes seconds to end the logins that it has accepted. */
const pairsShare = 0.6;
/** A turn is longer than that of other measures, because there are few requests. */
const turnTimes = 2;

/**
 * How 500 people who log in at the same moment, each with an account and an address of their own, slow down others: p99
 * of accepting with them and without. A client that is refused waits as long as the response says; one who has logged in
 * logs in again.
 */
export const authLogins: Measure = {
  names: ["auth.logins"],
  onlyWhenNamed: true,
  async run(bench) {
    const { turnMs } = bench.plan;
    const stage = await bench.stage("accept");
    const { hub, workspaceId } = stage;
    const users = await makeUsers(hub, { workspaceId, role: "member", users: clients });
    const usernames = users.map(({ userId }) => userId);
    const parts = partsOf({ hub, generatorPid: null });
    const pace: Pace = { kind: "open", durationMs: turnTimes * turnMs, warmUpMs, requestsPerSecond };
    const load = { traffic: stage.traffic(1), connections, pace };
    const turns = await takeTurns(
      {
        async beside() {
          const crowd = startLogIns(hub.url, usernames, hub.adminPassword);
          const watched = await stage.load("auth.logins", load);
          const counts = await crowd.stop();
          await settle(parts);
          return { ...watched, ...counts };
        },
        alone: () => stage.load("auth.logins.alone", load),
      },
      Math.ceil(bench.plan.pairs * pairsShare),
      ({ alone, beside }, pair) => {
        const [quiet, busy] = [alone.result.latencyMs, beside.result.latencyMs];
        bench.progress(
          `pair ${pair}: p99 ${quiet.p99.toFixed(2)} ms alone (longest ${quiet.max.toFixed(2)}), ` +
            `${busy.p99.toFixed(2)} ms beside logins (longest ${busy.max.toFixed(2)}), ` +
            `${(beside.loggedIn / beside.seconds).toFixed(0)} logins a second, ${beside.refused} sent back ` +
            `(${describeCost(beside)})`,
        );
      },
      { areWarm: true },
    );
    await checkAccepted(stage);
    const [beside, alone] = [turns.beside, turns.alone].map((list) => list.map(({ result }) => result.latencyMs.p99));
    return [row({ name: "auth.logins", unit: "ms" }, compare(beside!, alone!), atMostTimes(2))];
  },
};

function startLogIns(url: string, usernames: readonly string[], password: string) {
  const closing = new AbortController();
  const counts = { loggedIn: 0, refused: 0 };

  async function logInAgain(username: string, index: number): Promise<void> {
    const request = {
      method: "POST",
      signal: closing.signal,
      headers: {
        "content-type": "application/json",
        "x-forwarded-for": `10.0.${Math.floor(index / 250)}.${(index % 250) + 1}`,
      },
      body: JSON.stringify({ username, password }),
    };
    while (!closing.signal.aborted) {
      const answer = await fetch(`${url}/auth/token`, request).catch((error) => {
        if (closing.signal.aborted) return null;
        throw error;
      });
      if (answer === null) return;
      await answer.arrayBuffer().catch(() => {}); // Only the status counts.
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

  const running = Promise.all(usernames.map(logInAgain));
  // A login that fails is reported when it is awaited.
  running.catch(() => {});
  return {
    async stop() {
      closing.abort();
      await running;
      return counts;
    },
  };
}
