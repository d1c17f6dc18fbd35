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

test("a listener receives notifications, also after its connection was cut", async () => {
  await using fixture = await open();
  await fixture.notify("one");
  await until("the notification is received", () => fixture.received.includes("one"));
  await fixture.cut();
  await until("the listener reconnects", () => fixture.reconnects() === 1);
  await fixture.notify("two");
  await until("the listener receives after the cut", () => fixture.received.includes("two"));
});

// The disaster: a database that refused connections for ten seconds is opened to a thousand of them.
test("a listener that was refused many times opens one connection, and closes it", async () => {
  await using fixture = await open();
  await fixture.refuse(true);
  await fixture.cut();
  await until("the listener tries 8 times", () => fixture.attempts() >= 8);
  await fixture.refuse(false);
  await until("the listener reconnects", () => fixture.reconnects() === 1);
  const attempts = fixture.attempts();
  await fixture.notify("here");
  await until("the notification is received", () => fixture.received.length > 0);
  assert.deepEqual(fixture.received, ["here"]);
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
  const received: string[] = [];
  let reconnects = 0;
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
    onNotify: (payload) => void received.push(payload),
    onReconnect: () => {
      reconnects += 1;
    },
  });
  stack.defer(() => listener.close());
  const opened = stack.move();
  const mine = `application_name = 'chat4all listen test_channel' AND datname = '${name}'`;
  return {
    listener,
    received,
    reconnects: () => reconnects,
    /** How often it waited to reconnect. */
    attempts: () => attempts,
    notify: (payload: string) => pool.query("SELECT pg_notify('test_channel', $1)", [payload]),
    cut: () => admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${mine}`),
    refuse: (refuses: boolean) => admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${!refuses}`),
    connections: async () =>
      (await one<{ count: number }>(admin, `SELECT count(*) FROM pg_stat_activity WHERE ${mine}`)).count,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
