import type { Clock } from "../clock.ts";
import { openListener } from "../listener.ts";
import { type Log, openPool, withSettings } from "../postgres.ts";
import type { Fanout } from "./fanout.ts";
import { Relay } from "./relay.ts";

interface PostgresFanoutOptions {
  url: string;
  clock: Clock;
  log: Log;
}

export const notifyChannel = "chat4all_fanout";

/** The server accepts less than 8,000 bytes. Source: PostgreSQL 18, NOTIFY. */
const maxPayloadBytes = 7_900;

/** LISTEN and NOTIFY, over two connections of its own. Throws when the database does not accept LISTEN. */
export async function openPostgresFanout({ url, clock, log }: PostgresFanoutOptions): Promise<Fanout> {
  await using stack = new AsyncDisposableStack();
  // A NOTIFY is a transaction, which need not survive a power failure.
  const relaxed = withSettings(url, ["synchronous_commit=off"]);
  const pool = openPool({ url: relaxed, size: 1, applicationName: "chat4all fanout", log });
  stack.defer(() => pool.end());
  const relay = new Relay({
    clock,
    log,
    maxPayloadBytes,
    async send(payloads) {
      await pool.query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload", [notifyChannel, payloads]);
    },
    close: () => opened.disposeAsync(),
  });
  const listener = await openListener({
    url,
    channel: notifyChannel,
    clock,
    log,
    onNotify: (payload) => relay.receive(payload),
    onReconnect: () => relay.reconnected(),
  });
  stack.defer(() => listener.close());
  const opened = stack.move();
  return relay;
}
