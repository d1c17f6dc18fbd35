import type pg from "pg";
import type { Clock } from "./clock.ts";
import { cut } from "./pool-watch.ts";
import { createClient, type Log } from "./postgres.ts";
import { repeat, repeatWhenWoken } from "./repeat.ts";

interface ListenerOptions {
  url: string;
  channel: string;
  clock: Clock;
  log: Log;
  onNotify: (payload: string) => void;
  /** Notifications before it are lost, so poll. */
  onReconnect: () => void;
}

export const reconnectMs = 500;
/** A connection that only listens writes nothing, so a dead one is found by pings. */
const pingEveryMs = 5_000;
const answerWithinMs = 3_000;

export async function openListener(options: ListenerOptions): Promise<{ close(): Promise<void> }> {
  const { url, channel, clock, log, onNotify, onReconnect } = options;
  let client: pg.Client | null = null;
  let isClosed = false;

  async function connect(): Promise<void> {
    const next = createClient({ url, applicationName: `chat4all listen ${channel}`, answerWithinMs });
    const onLost = (error?: Error) => {
      // A connection that is not open yet fails by throwing.
      if (client !== next || isClosed) return;
      client = null;
      log.warn({ channel, reason: error?.message }, "the connection that listens was lost; it reconnects");
      next.end().catch(() => {});
      reconnecting.wake();
    };
    next.on("error", onLost);
    next.on("end", () => onLost());
    next.on("notification", (notification) => onNotify(notification.payload ?? ""));
    try {
      await next.connect();
      await next.query(`LISTEN ${channel}`);
    } catch (error) {
      next.end().catch(() => {});
      throw error;
    }
    if (isClosed) return next.end();
    client = next;
  }

  async function reconnect(): Promise<void> {
    if (isClosed) return;
    await connect();
    onReconnect();
  }

  /** Cuts a connection on which a ping fails, also when the server is frozen and sends no error. */
  async function ping(): Promise<void> {
    const pinged = client;
    await pinged?.query("SELECT 1").catch(() => cut(pinged));
  }

  const reconnecting = repeatWhenWoken(clock, reconnectMs, reconnect, () => {});
  await connect();
  const pinging = repeat(clock, pingEveryMs, ping, () => {});
  return {
    async close() {
      isClosed = true;
      void reconnecting.close();
      await pinging.close();
      await client?.end();
    },
  };
}
