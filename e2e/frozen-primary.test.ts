import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { loadConfig } from "../server/src/config/config.ts";
import { startHub } from "../server/src/hub.ts";
import { patient } from "../server/src/testing/patience.ts";
import { lacks } from "../server/src/testing/programs.ts";
import { startStockPostgres } from "../server/src/testing/stock-postgres.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { checkAnswersOf } from "./src/checked-answers.ts";
import { adminPassword, noLimits, openPlatforms, openTestLog, quickRetries, sharedSecrets } from "./src/harness.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

/** From the moment when the IP address leads to the new primary to the first 202. */
const withinMs = 10_000;

/** An IP address that moves from one database server to another; open connections stay where they are. */
async function openMovingAddress(first: string) {
  let target = first;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const there = connect(target);
    for (const [one, other] of [
      [socket, there],
      [there, socket],
    ] as const) {
      open.add(one);
      one.on("error", () => other.destroy()).on("close", () => open.delete(one));
      one.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  return {
    port,
    moveTo(next: string) {
      target = next;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

test(
  "after its primary froze, the hub continues within 10 s of the standby's takeover",
  { skip: lacks("postgres") },
  async (t) => {
    // A commit waits for the standby.
    await using primary = await startStockPostgres({ settings: { synchronous_standby_names: "standby" } });
    await using standby = await startStockPostgres({ standbyOf: primary });
    const database = await createTestDatabase({ server: primary.url });
    await using address = await openMovingAddress(primary.socketPath);
    const url = `postgres://postgres@127.0.0.1:${address.port}${new URL(database.url).pathname}`;
    await using simulator = await startSimulator(openPlatforms);
    const platforms = openSimulatorClient(simulator.url);
    const config = loadConfig(
      {
        ...{
          ...quickRetries,
          ...noLimits,
          ...sharedSecrets,
          BUS_LEASE: "4s",
          PORT: "0",
          ADMIN_PASSWORD: adminPassword,
        },
        ...{ DATABASE_URL: url, SIMULATOR_URL: simulator.url },
      },
      { envFile: null },
    );
    await using hub = await startHub({ config, log: openTestLog().logger, onFailed: assert.fail });
    checkAnswersOf(hub.url!);
    const admin = openClient({ url: hub.url!, credential: { username: "admin", password: adminPassword } });
    const { key: token } = await admin.apiKeys.create({ name: "program", scopes: ["*"] });
    const client = openClient({ url: hub.url!, credential: { token } });
    const load = openLoad(client);
    const people = Array.from({ length: 4 }, (_, index) => openPerson(platforms, "whatsapp", index, `Person ${index}`));
    const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
    const senders = talks.map((talk) => load.sender(talk, "m", { pauseMs: 20 }));
    try {
      await until("it is under load", () => load.accepted() > 50);
      primary.freeze();
      await standby.promote();
      address.moveTo(standby.socketPath);
      const [before, movedAt] = [load.accepted(), performance.now()];
      await until("a message is accepted again", () => load.accepted() > before, patient(withinMs));
      t.diagnostic(`${Math.round(performance.now() - movedAt)} ms until the first message was accepted`);
    } finally {
      load.stop();
      await Promise.allSettled(senders);
    }
    await Promise.all(senders);
    const conversationIds = talks.map(({ conversationId }) => conversationId);
    await settledByApi(client, platforms, conversationIds);
    assertFine(await observe({ client, simulator: platforms, conversationIds, checker: load.checker }));
  },
);
