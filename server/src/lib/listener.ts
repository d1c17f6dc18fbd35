import type pg from "pg";
import type { Clock } from "./clock.ts";
import { createClient, type Log } from "./postgres.ts";

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

const reconnectMs = 500;

/** LISTEN on a connection of its own, which comes back when it breaks. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { url, channel, clock, log, onNotify, onConnect } = options;
  let client: pg.Client | null = null;
  let isClosed = false;
  let cancelReconnect = () => {};

  /** Throws when it cannot be opened; once it stands, a loss opens the next one. */
  async function connect(): Promise<void> {
    const next = createClient({ url, applicationName: `chat4all listen ${channel}` });
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

  await connect();
  return {
    async close() {
      isClosed = true;
      cancelReconnect();
      await client?.end();
    },
  };
}
