import assert from "node:assert/strict";
import { test } from "node:test";
import { connectSimulator } from "../server/src/demo.ts";
import { createClient } from "../server/src/lib/postgres.ts";
import { until } from "../server/src/testing/until.ts";
import { startTestHub } from "./src/harness.ts";

const processes = 3;

test("processes that start at once on an empty database connect the simulator once", async () => {
  await using hub = await startTestHub();
  const { channelAccounts } = hub.client;
  for (const { channel_account_id } of (await channelAccounts.list()).data)
    await hub.call("DELETE", `/v1/channel-accounts/${channel_account_id}`, (await hub.logIn("admin")).access_token);
  assert.deepEqual((await channelAccounts.list()).data, []);
  // None of them may create an account before all have seen that there is none.
  const gate = createClient({ url: hub.databaseUrl, applicationName: "gate" });
  await gate.connect();
  await gate.query("BEGIN; LOCK TABLE channel_accounts IN SHARE MODE");
  const starting = Promise.all(
    Array.from({ length: processes }, () => connectSimulator(hub.hub.context, hub.simulator.url, hub.url)),
  );
  const countWaiting =
    "SELECT count(*) AS n FROM pg_locks WHERE relation = 'channel_accounts'::regclass AND NOT granted";
  await until("all want to make one", async () => {
    const { rows } = await hub.db.query<{ n: number }>(countWaiting);
    return rows[0]!.n === processes;
  }).finally(() => gate.end());
  await starting;
  const { data } = await channelAccounts.list();
  assert.deepEqual(data.map(({ channel }) => channel).toSorted(), ["telegram", "whatsapp"]);
});
