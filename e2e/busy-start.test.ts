import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type NetConnectOpts, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openClient } from "../client/src/client.ts";
import { loadConfig } from "../server/src/config/config.ts";
import { startHub } from "../server/src/hub.ts";
import { patient } from "../server/src/testing/patience.ts";
import { createTestDatabase } from "../server/src/testing/test-database.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { checkAnswersOf } from "./src/checked-answers.ts";
import { adminPassword, noLimits, openPlatforms, openTestLog, quickRetries, sharedSecrets } from "./src/harness.ts";

/** Longer than the hub waits for one new connection. */
const slowMs = 4_000;

/** The way to a database on a busy machine: the first connection of each name, such as `chat4all bus`, takes 4 s. */
async function openBusyDatabase(url: string) {
  const target = new URL(url);
  const names = new Set<string>();
  const open = new Set<Socket>();
  const server = createServer((near) => {
    keep(near);
    near.once("data", (startup: Buffer) => void accept(near, startup));
  }).listen(0, "127.0.0.1");

  function keep(socket: Socket): void {
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
  }

  async function accept(near: Socket, startup: Buffer): Promise<void> {
    near.pause();
    const [, name = ""] = /application_name\0([^\0]*)/.exec(startup.toString()) ?? [];
    if (!names.has(name)) {
      names.add(name);
      await delay(slowMs);
    }
    if (near.destroyed) return;
    const far = connect(placeOf(target));
    keep(far);
    far.write(startup);
    near.pipe(far).pipe(near);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  }

  await once(server, "listening");
  target.searchParams.delete("host");
  const { port } = server.address() as { port: number };
  return {
    url: `postgres://${target.username}:${target.password}@127.0.0.1:${port}${target.pathname}`,
    names,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

function placeOf({ hostname, port }: URL): NetConnectOpts {
  const host = decodeURIComponent(hostname);
  return host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port || 5432}` } : { host, port: Number(port || 5432) };
}

test(
  "a start waits when the database takes 4 s to accept a connection, and says what it waits for",
  { timeout: patient(120_000) },
  async () => {
    await using database = await createTestDatabase();
    await using busy = await openBusyDatabase(database.url);
    await using simulator = await startSimulator(openPlatforms);
    const config = loadConfig(
      {
        ...{ ...quickRetries, ...noLimits, ...sharedSecrets, PORT: "0", ADMIN_PASSWORD: adminPassword },
        ...{ DATABASE_URL: busy.url, SIMULATOR_URL: simulator.url },
      },
      { envFile: null },
    );
    const waits: string[] = [];
    await using hub = await startHub({
      config,
      log: openTestLog().logger,
      onFailed: assert.fail,
      waitFor: (what) => waits.push(what),
    });
    const pools = ["migrations", "pipeline", "bus", "listen chat4all_fanout", "identity"];
    for (const name of ["chat4all", ...pools.map((pool) => `chat4all ${pool}`)]) assert.ok(busy.names.has(name), name);
    assert.ok(!busy.names.has("chat4all listen chat4all_bus"), "one connection listens");
    assert.ok(waits.lastIndexOf("the database of DATABASE_URL to respond") > waits.indexOf("the pipeline to open"));
    checkAnswersOf(hub.url!);
    const client = openClient({ url: hub.url!, credential: { username: "admin", password: adminPassword } });
    assert.deepEqual((await client.channelAccounts.list()).data.length, 2);
  },
);
