import type pg from "pg";
import type { Clock } from "./clock.ts";
import { cut } from "./pool-watch.ts";
import { createClient, type Log } from "./postgres.ts";
import { repeat } from "./repeat.ts";

export interface Listener {
  close(): Promise<void>;
}

export interface ListenerOptions {
  url: string;
  /** A PostgreSQL identifier. */
  channel: string;
  clock: Clock;
  log: Log;
  onNotify: (payload: string) => void;
  /** After each time the connection stands: what was notified in between is lost, so look for yourself. */
  onConnect: () => void;
}

export const reconnectMs = 500;
/** A connection that only listens writes nothing, so without pings a dead one would go unnoticed. */
const pingEveryMs = 5_000;
const answerWithinMs = 3_000;

/** LISTEN on a connection of its own, which comes back when it breaks. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { url, channel, clock, log, onNotify, onConnect } = options;
  let client: pg.Client | null = null;
  let isClosed = false;
  let cancelReconnect = () => {};

  /** Throws when it cannot be opened; once it stands, a loss opens the next one. */
  async function connect(): Promise<void> {
    const next = createClient({ url, applicationName: `chat4all listen ${channel}`, answerWithinMs });
    const onLost = (error?: Error) => {
      // Until it stands, its failure is told by throwing.
      if (client !== next || isClosed) return;
      client = null;
      log.warn({ channel, reason: error?.message }, "the listening connection was lost and is opened again");
      next.end().catch(() => {});
      reconnectLater();
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
    onConnect();
  }

  function reconnectLater(): void {
    cancelReconnect = clock.after(reconnectMs, () => {
      if (!isClosed) connect().catch(() => reconnectLater());
    });
  }

  /** Cuts a connection on which a ping fails, also when the server is frozen and sends no error. */
  async function ping(): Promise<void> {
    const pinged = client;
    await pinged?.query("SELECT 1").catch(() => cut(pinged));
  }

  await connect();
  const pinging = repeat(clock, pingEveryMs, ping, () => {});
  return {
    async close() {
      isClosed = true;
      cancelReconnect();
      await pinging.close();
      await client?.end();
    },
  };
}
