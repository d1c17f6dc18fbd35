import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { openClient } from "../client/src/client.ts";
import { freePort } from "../server/src/testing/free-port.ts";
import { patient } from "../server/src/testing/patience.ts";
import { until } from "../server/src/testing/until.ts";
import { startSimulator } from "../simulator/src/simulator.ts";
import { adminPassword, openPlatforms } from "./src/harness.ts";
import { openHubPlace, startHubProcess } from "./src/hub-place.ts";
import { openLoad, openTalk } from "./src/load.ts";
import { assertFine, observe, settledByApi } from "./src/observe.ts";
import { openPerson } from "./src/people.ts";
import { noneLeftIn, processesIn, withoutProc } from "./src/processes.ts";
import { openSimulatorClient } from "./src/simulator-client.ts";

const stopWithinMs = patient(10_000);

test(
  "after SIGTERM under load the hub finishes open requests and ends within 10 s with all its processes, and the next start continues",
  { skip: withoutProc },
  async () => {
    await using simulator = await startSimulator(openPlatforms);
    await using place = await openHubPlace({ SIMULATOR_URL: simulator.url });
    const platforms = openSimulatorClient(simulator.url);
    // Slow enough for attempts to be under way at any moment.
    for (const channel of ["whatsapp", "telegram"]) {
      await platforms.settings(channel, { time_factor: 1_000, latency_ms: 100 });
    }
    const hub = await startHubProcess(place);
    const admin = openClient({ url: place.url, credential: { username: "admin", password: adminPassword } });
    const client = openClient({
      url: place.url,
      credential: { token: (await admin.apiKeys.create({ name: "p", scopes: ["*"] })).key },
    });
    const load = openLoad(client);
    const people = Array.from({ length: 10 }, (_, index) => {
      return openPerson(platforms, index % 2 ? "telegram" : "whatsapp", index, `Person ${index}`);
    });
    const talks = await Promise.all(people.map((person) => openTalk(client, load, person)));
    const senders = talks.map((talk) => load.sender(talk, "m", { count: 30, pauseMs: 10 }));
    await until("it is at work", async () => load.accepted() > 100 && (await platforms.count()) > 20);

    const asked = Date.now();
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    assert.ok(Date.now() - asked < stopWithinMs);
    await noneLeftIn(place.folder, 1_000);

    const next = await startHubProcess(place);
    await Promise.all(senders);
    const conversationIds = talks.map(({ conversationId }) => conversationId);
    await settledByApi(client, platforms, conversationIds);
    const report = await observe({ client, simulator: platforms, conversationIds, checker: load.checker });
    assertFine(report);
    // Nothing was cut off: an orderly stop leaves no attempt without a response.
    assert.equal(report.counts.excusedDuplicates, 0);
    assert.equal(report.counts.received, report.counts.accepted);
    next.kill("SIGINT");
    assert.deepEqual(await next.ended, { code: 0, signal: null });
  },
);

test(
  "a test hub starts its platforms and has a password, and stops everything that it started",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace({ ADMIN_PASSWORD: "" });
    const hub = await startHubProcess(place);
    assert.ok(processesIn(place.folder).length > 3);
    const [, password] = /password: (\S+)/.exec(hub.stdout()) ?? [];
    const client = openClient({ url: place.url, credential: { username: "admin", password: password! } });
    assert.equal((await client.operations.readiness()).status, "ready");
    const { message_id } = await client.messages.send({
      to: "whatsapp:+5511999991111",
      payload: { type: "text", text: "Hello from Chat4All" },
    });
    await until("it is read", async () => (await client.messages.get(message_id)).status === "read");
    hub.kill("SIGTERM");
    assert.deepEqual(await hub.ended, { code: 0, signal: null });
    assert.deepEqual(processesIn(place.folder), []);
    assert.equal(hub.stderr().includes(password!), false);

    const second = await startHubProcess(place);
    assert.doesNotMatch(second.stdout(), /password: /);
    assert.equal((await client.messages.get(message_id)).status, "read");
  },
);

for (const [what, env, sentence] of [
  ["a variable with a bad value", { PORT: "http" }, /PORT is "http": give a whole number/],
  ["an unknown variable", { DELIVERY_TIMEOUTS: "1s" }, /DELIVERY_TIMEOUTS is unknown: did you mean DELIVERY_TIMEOUT\?/],
  [
    "a database without the secrets that go with it",
    { DATABASE_URL: "postgres://127.0.0.1/none" },
    /JWT_SECRET is missing/,
  ],
  ["a data directory that cannot be made", { DATA_DIR: "/proc/nowhere" }, /\/proc\/nowhere/],
] as const) {
  test(`${what} stops the start with one message and exit code 1`, { skip: withoutProc }, async () => {
    await using place = await openHubPlace(env);
    const hub = place.spawn();
    assert.deepEqual(await hub.ended, { code: 1, signal: null });
    assert.match(hub.stderr(), sentence);
    assert.doesNotMatch(hub.stderr(), /^\s+at /m, "a stack trace");
    assert.equal(existsSync(place.dataDir), false);
  });
}

for (const key of ["PORT", "SIMULATOR_PORT"]) {
  test(
    `a ${key} that is in use stops the start with one sentence, and nothing is created`,
    { skip: withoutProc },
    async () => {
      const port = await freePort();
      const other = createServer().listen(port, "127.0.0.1");
      await using place = await openHubPlace({ [key]: String(port) });
      const hub = place.spawn();
      try {
        assert.deepEqual(await hub.ended, { code: 1, signal: null });
      } finally {
        other.close();
      }
      const sentence = `^Port ${port} on 127\\.0\\.0\\.1 is taken by another program: end it, or set ${key} to another\\.\\n$`;
      assert.match(hub.stderr(), new RegExp(sentence));
      assert.equal(existsSync(place.dataDir), false);
      await noneLeftIn(place.folder, 1_000);
    },
  );
}

test("PORT and SIMULATOR_PORT with the same port stop the start with one sentence", { skip: withoutProc }, async () => {
  const port = String(await freePort());
  await using place = await openHubPlace({ PORT: port, SIMULATOR_PORT: port });
  const hub = place.spawn();
  assert.deepEqual(await hub.ended, { code: 1, signal: null });
  assert.equal(hub.stderr(), `PORT and SIMULATOR_PORT are both ${port}: set one of them to another port.\n`);
  assert.equal(existsSync(place.dataDir), false);
});

test(
  "a data directory in use stops the start with one sentence, and the hub that has it continues",
  { skip: withoutProc },
  async () => {
    await using place = await openHubPlace();
    await startHubProcess(place);
    const intruder = place.spawn({ PORT: "0" });
    assert.deepEqual(await intruder.ended, { code: 1, signal: null });
    assert.match(intruder.stderr(), /^[^\n]*data[^\n]*\n$/);
    assert.ok(intruder.stderr().includes(place.dataDir));
    const client = openClient({ url: place.url });
    assert.equal((await client.operations.readiness()).status, "ready");
  },
);
