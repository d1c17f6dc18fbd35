import assert from "node:assert/strict";
import { test } from "node:test";
import { createTestDatabase } from "../testing/test-database.ts";
import { until } from "../testing/until.ts";
import { systemClock } from "./clock.ts";
import { openListener, reconnectMs } from "./listener.ts";
import { type Log, openPool } from "./postgres.ts";
import { one } from "./query.ts";

const quiet: Log = { info() {}, warn() {}, error() {} };

/** Waits are a hundred times as short. */
const hasty = { ...systemClock, after: (ms: number, call: () => void) => systemClock.after(ms / 100, call) };

test("a listener hears what is notified, and again after its connection was cut", async () => {
  await using fixture = await open();
  await fixture.notify("one");
  await until("the message is heard", () => fixture.heard.includes("one"));
  await fixture.cut();
  await until("the listener reconnects", () => fixture.connects() === 2);
  await fixture.notify("two");
  await until("the listener hears after the cut", () => fixture.heard.includes("two"));
});

// A database that is away for ten seconds must not come back to a thousand connections.
test("however long the database refuses, one listener comes back, and it closes", async () => {
  await using fixture = await open();
  await fixture.refuse(true);
  await fixture.cut();
  await until("the listener tries 8 times", () => fixture.attempts() >= 8);
  await fixture.refuse(false);
  await until("the listener reconnects", () => fixture.connects() === 2);
  const attempts = fixture.attempts();
  await fixture.notify("here");
  await until("the message is heard", () => fixture.heard.length > 0);
  assert.deepEqual(fixture.heard, ["here"]);
  assert.equal(await fixture.connections(), 1);
  assert.equal(fixture.attempts(), attempts);
  await fixture.listener.close();
  await until("the listener is disconnected", async () => (await fixture.connections()) === 0);
});

async function open() {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const name = new URL(database.url).pathname.slice(1);
  // A database can only be closed from another one.
  const beside = stack.use(await createTestDatabase());
  const admin = stack.adopt(openPool({ url: beside.url, size: 1, applicationName: "test", log: quiet }), (opened) =>
    opened.end(),
  );
  const pool = stack.adopt(openPool({ url: database.url, size: 2, applicationName: "test", log: quiet }), (opened) =>
    opened.end(),
  );
  await pool.query("SELECT 1");
  const heard: string[] = [];
  let connects = 0;
  let attempts = 0;
  const clock = {
    ...hasty,
    after(ms: number, call: () => void) {
      if (ms === reconnectMs) attempts += 1;
      return hasty.after(ms, call);
    },
  };
  const listener = await openListener({
    url: database.url,
    channel: "test_channel",
    clock,
    log: quiet,
    onNotify: (payload) => void heard.push(payload),
    onConnect: () => {
      connects += 1;
    },
  });
  stack.defer(() => listener.close());
  const opened = stack.move();
  const mine = `application_name = 'chat4all listen test_channel' AND datname = '${name}'`;
  return {
    listener,
    heard,
    connects: () => connects,
    /** How often it waited to try again. */
    attempts: () => attempts,
    notify: (payload: string) => pool.query("SELECT pg_notify('test_channel', $1)", [payload]),
    cut: () => admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${mine}`),
    refuse: (refuses: boolean) => admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${!refuses}`),
    connections: async () =>
      (await one<{ count: number }>(admin, `SELECT count(*) FROM pg_stat_activity WHERE ${mine}`)).count,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
