/** Once `/readyz` said ready while a step reported no error and did nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, systemClock } from "../server/src/lib/clock.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { checkEveryMs } from "../server/src/lib/progress-watch.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub, type TestHub } from "./src/harness.ts";

/** Checks progress ten times as often, so that a standstill of half a minute is found in three seconds. */
const hastyClock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs === checkEveryMs ? checkEveryMs / 10 : delayMs, callback),
};
/** Short timeouts and leases, because a standstill must last longer than they do. */
const env = { DELIVERY_TIMEOUT: "2s", BUS_LEASE: "2s" };

interface Readiness {
  status: string;
  troubles: { part: string; code: string; is_stalled: boolean; failures: number }[];
}

async function readiness({ url }: TestHub) {
  const answer = await fetch(`${url}/readyz`);
  return { status: answer.status, body: (await answer.json()) as Readiness };
}

const metrics = async ({ url }: TestHub) => (await fetch(`${url}/metrics`)).text();

/** Locks a table like a forgotten transaction of an operator: statements that need it neither end nor fail. */
async function hold(hub: TestHub, table: string) {
  const owner = createClient({ url: hub.databaseUrl, applicationName: "operator" });
  await owner.connect();
  await owner.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
  return () => owner.end();
}

for (const { table, part, what } of [
  { table: "lanes", part: "progress of route message_processing", what: "a step whose consumer hangs" },
  { table: "attempt_batches", part: "progress of lanes whatsapp", what: "lanes that do not start" },
]) {
  test(`readyz and the metrics name ${what} until it continues`, async () => {
    await using hub = await startTestHub({ env, clock: hastyClock });
    const person = hub.person("whatsapp");
    await person.writes("oi");
    await hub.settled();
    await until("it is ready", async () => (await readiness(hub)).status === 200);
    const release = await hold(hub, table);
    const { message_id } = await hub.client.messages.send({
      to: person.address,
      payload: { type: "text", text: "Are you there?" },
    });
    const { status, body } = await until("it is named", async () => {
      const found = await readiness(hub);
      return found.body.troubles.some((one) => one.part === part) && found;
    });
    assert.deepEqual([status, body.status], [503, "unavailable"]);
    const { code, is_stalled } = body.troubles.find((one) => one.part === part)!;
    assert.deepEqual([code, is_stalled], ["NO_PROGRESS", true]);
    const shown = await metrics(hub);
    assert.match(shown, new RegExp(`^chat4all_part_trouble_seconds\\{part="${part}",code="NO_PROGRESS"\\} \\d`, "m"));
    assert.match(shown, new RegExp(`^chat4all_part_failures_total\\{part="${part}",code="NO_PROGRESS"\\} \\d`, "m"));
    assert.match(shown, new RegExp(`^chat4all_waiting\\{part="${part.slice(12)}"\\} 1$`, "m"));
    await release();
    await until("it is ready again", async () => (await readiness(hub)).status === 200);
    await hub.status(message_id, "read");
  });
}

test("a process is not ready while no process consumes the work that it publishes", async () => {
  await using hub = await startTestHub({ env: { ...env, ROLES: "api" }, clock: hastyClock });
  assert.equal((await readiness(hub)).status, 200);
  const users = await Promise.all(["one", "two", "three"].map((name) => hub.user("member", name)));
  const group = await hub.group(users.map(({ user_id }) => user_id));
  await hub.client.messages.send({ conversation_id: group.conversation_id, payload: { type: "text", text: "oi" } });
  const { body } = await until("it is not ready", async () => {
    const found = await readiness(hub);
    return found.status === 503 && found;
  });
  const [trouble] = body.troubles;
  assert.deepEqual([trouble?.part, trouble?.code], ["progress of route message_processing", "NO_CONSUMER"]);
});
