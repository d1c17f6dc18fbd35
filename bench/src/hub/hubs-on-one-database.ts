import { join } from "node:path";
import { spawnHub } from "../../../server/src/testing/hub-process.ts";
import { startTestServer } from "../../../server/src/testing/test-server.ts";
import { startSimulator } from "../reference/start-floor.ts";
import { readProcesses } from "../watch/processes.ts";
import { withDb } from "../watch/statements.ts";
import { benchSettings, openDataDir } from "./bench-hub.ts";

export interface Hubs extends AsyncDisposable {
  urls: string[];
  adminPassword: string;
  pids: number[];
  databaseUrl: string;
  postmasterPid: number;
  simulatorUrl: string;
  simulatorPid: number;
}

const secrets = { JWT_SECRET: "j".repeat(32), ENCRYPTION_KEY: "ab".repeat(32) };

/** So many processes, each with all roles, as an operator starts them on a PostgreSQL of their own. */
export async function startHubs(count: number): Promise<Hubs> {
  await using resources = new AsyncDisposableStack();
  const { path } = resources.use(openDataDir());
  const server = await startTestServer();
  resources.defer(() => server.stop());
  const simulator = resources.use(await startSimulator(join(path, "..", "simulator.jsonl")));
  const env = {
    ...benchSettings,
    ...secrets,
    DATABASE_URL: server.url,
    // The embedded server has 100 connections.
    DATABASE_POOL_SIZE: "4",
    SIMULATOR_URL: simulator.url,
    RATE_LIMIT_ADDRESS: "off",
  };
  const hubs = Array.from({ length: count }, (_, index) => {
    const hub = spawnHub({ cwd: join(path, ".."), env: { ...env, DATA_DIR: `${path}-${index}` }, readyWithinMs: null });
    resources.defer(async () => {
      hub.kill("SIGTERM");
      await hub.ended;
    });
    return hub;
  });
  await Promise.all(hubs.map((hub) => hub.ready));
  const postmasterPid = await withDb(server.url, async (db) => {
    const { rows } = await db.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    return readProcesses().find(({ pid }) => pid === rows[0]!.pid)!.parent;
  });
  const kept = resources.move();
  return {
    urls: hubs.map((hub) => /API +(http\S+)/.exec(hub.stdout())![1]!),
    adminPassword: env.ADMIN_PASSWORD,
    pids: hubs.map(({ pid }) => pid),
    databaseUrl: server.url,
    postmasterPid,
    simulatorUrl: simulator.url,
    simulatorPid: simulator.pid,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
