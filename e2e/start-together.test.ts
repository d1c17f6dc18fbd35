import assert from "node:assert/strict";
import { test } from "node:test";
import { connectSimulator } from "../server/src/demo.ts";
import { startTestHub } from "./src/harness.ts";

test("processes that start at once on an empty database connect the simulator once", async () => {
  await using hub = await startTestHub();
  const { channelAccounts } = hub.client;
  for (const { channel_account_id } of (await channelAccounts.list()).data)
    await hub.call("DELETE", `/v1/channel-accounts/${channel_account_id}`, (await hub.logIn("admin")).access_token);
  assert.deepEqual((await channelAccounts.list()).data, []);
  // Three connections stand, so that all three look before one of them has made an account.
  const { rows } = await hub.db.query<{ id: string }>("SELECT workspace_id AS id FROM workspaces");
  const db = hub.hub.context.dbOf(rows[0]!.id);
  await Promise.all(Array.from({ length: 3 }, () => db.query("SELECT pg_sleep(0.3)")));
  await Promise.all(Array.from({ length: 3 }, () => connectSimulator(hub.hub.context, hub.simulator.url, hub.url)));
  const { data } = await channelAccounts.list();
  assert.deepEqual(data.map(({ channel }) => channel).toSorted(), ["telegram", "whatsapp"]);
});
