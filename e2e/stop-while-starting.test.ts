import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { freePort } from "../server/src/testing/free-port.ts";
import { until } from "../server/src/testing/until.ts";
import { sharedSecrets } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { commandOf, noneLeftIn, processesIn, withoutProc } from "./src/processes.ts";

const stopped = "Stopping before the start is complete.\nStopped.\n";
/** So long that a start that continues after the signal ends by its own timeouts, with an error. */
const slowStop = { SHUTDOWN_TIMEOUT: "5m", LOG_LEVEL: "warn" };

for (const [what, env, logged] of [
  [
    "PostgreSQL refuses connections",
    (port: number) => urlsOf({ DATABASE_URL: `postgres://x@127.0.0.1:${port}/x` }),
    /the start tries again/,
  ],
  [
    "Redis refuses connections",
    (port: number) => ({ SIMULATOR_PORT: "0", REDIS_URL: `redis://127.0.0.1:${port}` }),
    /Redis cannot be reached/,
  ],
] as const) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`${signal} ends a start at once while ${what}`, { skip: withoutProc }, async () => {
      await using place = await openHubPlace({ ...slowStop, ...env(await freePort()) });
      const hub = place.spawn();
      await until("the start waits", () => logged.test(hub.stderr()), 60_000);
      const before = hub.stderr();
      hub.kill(signal);
      assert.deepEqual(await hub.ended, { code: 0, signal: null });
      assert.ok(hub.stdout().endsWith(stopped), hub.stdout());
      assert.equal(hub.stderr(), before);
      await noneLeftIn(place.folder, 1_000);
    });
  }
}

test("SIGTERM ends a start at once while PostgreSQL does not respond", { skip: withoutProc }, async () => {
  let connections = 0;
  const silent = createServer((socket) => {
    connections += 1;
    // Or the end of the connection would never be seen.
    socket.on("error", () => {}).resume();
  }).listen(0, "127.0.0.1");
  await until("it listens", () => silent.listening);
  const { port } = silent.address() as { port: number };
  await using place = await openHubPlace({
    ...slowStop,
    ...urlsOf({ DATABASE_URL: `postgres://x@127.0.0.1:${port}/x` }),
  });
  const hub = place.spawn();
  try {
    await until("the hub has connected", () => connections > 0, 60_000);
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    assert.ok(hub.stdout().endsWith(stopped), hub.stdout());
    assert.equal(hub.stderr(), "");
  } finally {
    silent.close();
  }
});

for (const to of ["the hub", "all processes, as by Ctrl-C"]) {
  test(
    `a signal to ${to} while the database is created is not an error, and the next start works`,
    { skip: withoutProc },
    async () => {
      await using place = await openHubPlace({ ...slowStop });
      const hub = place.spawn();
      const initdb = await until(
        "initdb runs",
        () => processesIn(place.folder).find((pid) => /initdb\0/.test(commandOf(pid))),
        60_000,
      );
      if (to === "the hub") hub.kill("SIGTERM");
      else for (const pid of [hub.pid, initdb]) process.kill(pid, "SIGINT");
      assert.deepEqual(await hub.ended, { code: 0, signal: null });
      assert.ok(hub.stdout().endsWith(stopped), hub.stdout());
      assert.equal(hub.stderr(), "");
      await noneLeftIn(place.folder, 1_000);
      assert.ok(
        !existsSync(place.dataDir) || readdirSync(place.dataDir).every((name) => !name.startsWith("postgres.new")),
      );
      const next = await startHubProcess(place);
      next.kill("SIGTERM");
      assert.deepEqual(await next.ended, { code: 0, signal: null });
      assert.match(next.stdout(), /\nStopping: no new work is taken, what is under way is finished\.\nStopped\.\n$/);
    },
  );
}

test("SIGTERM ends a start at once while the simulator does not respond", { skip: withoutProc }, async () => {
  await using place = await openHubPlace({ ...slowStop });
  const hub = place.spawn();
  const simulator = await until(
    "the simulator is spawned",
    () => processesIn(place.folder).find((pid) => commandOf(pid).includes("simulator/src/main.ts")),
    60_000,
  );
  process.kill(simulator, "SIGSTOP");
  await until("the start waits", () => /waiting for the platform simulator/.test(hub.stdout()), 60_000);
  hub.kill("SIGTERM");
  assert.deepEqual(await hub.ended, { code: 0, signal: null });
  assert.ok(hub.stdout().endsWith(stopped), hub.stdout());
  await noneLeftIn(place.folder, 1_000);
});

function urlsOf(env: Record<string, string>): Record<string, string> {
  return { ...sharedSecrets, ...env };
}
