import type { Clock } from "../clock.ts";
import { openListener } from "../listener.ts";
import { type Log, openPool, withSettings } from "../postgres.ts";
import type { Fanout } from "./fanout.ts";
import { openRelay } from "./relay.ts";

export interface PostgresFanoutOptions {
  /** All processes on this database hear one another. */
  url: string;
  clock: Clock;
  log: Log;
}

/** The channel of NOTIFY that all channels of the fan-out share. */
export const notifyChannel = "chat4all_fanout";

/** The server takes less than 8,000 bytes. Source: PostgreSQL 18, NOTIFY. */
const maxPayloadBytes = 7_900;

/** By LISTEN and NOTIFY, over two connections of its own. Throws when the database does not let it listen. */
export async function openPostgresFanout({ url, clock, log }: PostgresFanoutOptions): Promise<Fanout> {
  await using stack = new AsyncDisposableStack();
  // A NOTIFY is a transaction, which nobody needs to find again after a power failure.
  const pool = openPool({
    url: withSettings(url, ["synchronous_commit=off"]),
    size: 1,
    applicationName: "chat4all fanout",
    log,
  });
  stack.defer(() => pool.end());
  const relay = openRelay({
    clock,
    log,
    maxPayloadBytes,
    async send(payloads) {
      await pool.query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) payload", [notifyChannel, payloads]);
    },
  });
  let isFirst = true;
  const listener = await openListener({
    url,
    channel: notifyChannel,
    clock,
    log,
    onNotify: relay.receive,
    onConnect() {
      if (!isFirst) relay.reconnected();
      isFirst = false;
    },
  });
  stack.defer(() => listener.close());
  stack.use(relay);
  const opened = stack.move();
  return { ...relay, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
