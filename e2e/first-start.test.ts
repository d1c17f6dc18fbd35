import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { until } from "../server/src/testing/until.ts";
import { adminPassword, sharedSecrets } from "./src/harness.ts";
import { type HubPlace, openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { commandOf, processesIn, withoutProc } from "./src/processes.ts";

/** Longer than the 10 s after which a start on a busy machine once said that the port is taken. */
const slowSimulatorSeconds = 11;

test(
  "a start that waits prints what it waits for and for how long, until it continues",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace({ ADMIN_PASSWORD: "" });
    const hub = place.spawn();
    const simulator = await stopSimulator(place);
    const said = () => [
      ...hub.stdout().matchAll(/^Starting: waiting for the platform simulator to start \((\d+) s\)\.$/gm),
    ];
    await until("it has said so again and again", () => Number(said().at(-1)?.[1]) >= slowSimulatorSeconds, 60_000);
    assert.ok(said().length >= 2);
    process.kill(simulator, "SIGCONT");
    await hub.ready;
    assert.doesNotMatch(hub.stderr(), /port|"level":50/i);
    await logIn(place.url, passwordIn(hub.stdout()));
  },
);

test("a start names a database that accepts connections and does not respond", { skip: withoutProc }, async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await until("it listens", () => silent.listening);
  const { port } = silent.address() as { port: number };
  await using place = await openHubPlace({ ...sharedSecrets, DATABASE_URL: `postgres://127.0.0.1:${port}/none` });
  const hub = place.spawn();
  try {
    const sentence = /^Starting: waiting for the database of DATABASE_URL to respond \(\d+ s\)\.$/m;
    await until("it says what it waits for", () => sentence.test(hub.stdout()), 60_000);
  } finally {
    hub.kill("SIGKILL");
    await hub.ended;
    silent.close();
  }
});

test(
  "when a start ends before it has shown the password, the next one shows a new password",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace({ ADMIN_PASSWORD: "" });
    const hub = place.spawn();
    await stopSimulator(place);
    // The admin is made before the start waits for the simulator, which is stopped.
    const waits = /waiting for the platform simulator/;
    await until("the admin is made", () => waits.test(hub.stdout()), 60_000);
    hub.kill("SIGKILL");
    await hub.ended;
    assert.doesNotMatch(hub.stdout(), /password/);

    const second = await startHubProcess(place);
    const password = passwordIn(second.stdout());
    await logIn(place.url, password);
    second.kill("SIGTERM");
    await second.ended;
    const third = await startHubProcess(place, { ADMIN_PASSWORD: adminPassword });
    assert.match(third.stdout(), /ADMIN_PASSWORD has no effect: .*npm start -- admin reset-password admin/);
    await logIn(place.url, password);
  },
);

test(
  "admin reset-password prints a new password once and ends sessions, beside a hub and without one",
  {
    skip: withoutProc,
  },
  async () => {
    await using place = await openHubPlace();
    const hub = await startHubProcess(place);
    const session = await logIn(place.url, adminPassword);
    const beside = await resetPassword(place);
    assert.match(beside.stdout, /^The new password of admin is \S+ .*\n.* notices within 30 seconds\.\n$/);
    await assert.rejects(logIn(place.url, adminPassword), /401/);
    await logIn(place.url, passwordIn(beside.stdout));
    await assert.rejects(refresh(place.url, session.refresh_token), /401/);
    hub.kill("SIGTERM");
    await hub.ended;

    const alone = await resetPassword(place, "ADMIN");
    assert.equal(alone.code, 0);
    const unknown = await resetPassword(place, "somebody");
    assert.deepEqual(
      [unknown.code, unknown.stderr],
      [1, "There is no user somebody: give the name of another user.\n"],
    );
    assert.deepEqual(processesIn(place.folder), []);
    for (const file of ["hub.json", "secrets.json", "postgres.log"]) {
      const path = `${place.dataDir}/${file}`;
      if (existsSync(path)) assert.equal(readFileSync(path, "utf8").includes(passwordIn(alone.stdout)), false, file);
    }
    await startHubProcess(place, { ADMIN_PASSWORD: "" });
    await logIn(place.url, passwordIn(alone.stdout));
    const client = openClient({
      url: place.url,
      credential: { username: "admin", password: passwordIn(alone.stdout) },
    });
    const { data } = await client.auditLog.list();
    const resets = data.filter(({ action }) => action === "password.reset");
    assert.deepEqual(
      resets.map(({ actor_kind }) => actor_kind),
      ["system", "system"],
    );
  },
);

test("--help of every command prints its usage and starts nothing", { skip: withoutProc }, async () => {
  await using place = await openHubPlace();
  for (const command of ["config", "secrets", "audit", "admin"]) {
    const asked = await run(place, [command, "--help"]);
    assert.deepEqual([asked.code, asked.stderr], [0, ""]);
    assert.match(asked.stdout, new RegExp(`^Usage: npm start -- ${command}`));
  }
  const all = await run(place, ["--help"]);
  assert.match(all.stdout, /admin {4}admin reset-password \[username\]/);
  const unknown = await run(place, ["adminn"]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^There is no command adminn\./);
  assert.equal(existsSync(place.dataDir), false);
});

/** Suspends the simulator of a hub that is starting, like a machine that is too busy. */
async function stopSimulator(place: HubPlace): Promise<number> {
  const find = () => processesIn(place.folder).find((pid) => commandOf(pid).includes("simulator/src/main.ts"));
  await until("the simulator is spawned", () => find() !== undefined, 60_000);
  const pid = find()!;
  process.kill(pid, "SIGSTOP");
  return pid;
}

function passwordIn(output: string): string {
  return /password(?:: | of \S+ is )(\S+)/.exec(output)![1]!;
}

function resetPassword(place: HubPlace, ...names: string[]) {
  return run(place, ["admin", "reset-password", ...names]);
}

async function run(place: HubPlace, args: readonly string[]) {
  const command = place.spawn({}, args);
  const { code } = await command.ended;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

function logIn(url: string, password: string): Promise<{ refresh_token: string }> {
  return post(`${url}/auth/token`, { username: "admin", password });
}

function refresh(url: string, refreshToken: string) {
  return post(`${url}/auth/refresh`, { refresh_token: refreshToken });
}

async function post(url: string, body: object): Promise<{ refresh_token: string }> {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${url} got ${answer.status}`);
  return (await answer.json()) as { refresh_token: string };
}
